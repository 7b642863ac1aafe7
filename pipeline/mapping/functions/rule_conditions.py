"""The conditions of the mapping's own rules, over the fields of a mapped transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Final

import polars as pl

from pipeline.core.frames import MONEY, type_of
from pipeline.core.model import TRANSACTION_FIELDS
from pipeline.mapping.functions.formulas import compile_formula, type_over
from pipeline.mapping.language.mapping_errors import FormulaError

DERIVED: Final[dict[str, pl.DataType]] = {
    "paid": MONEY,
    "payments_total": MONEY,
    "items_total": MONEY,
    "items_count": pl.UInt32(),
}
"""What a rule may use besides the mapped fields."""
RULE_COLUMNS: Final = {
    **{name: type_of(each.kind) for name, each in TRANSACTION_FIELDS.items()},
    **DERIVED,
}
"""The types of everything that a rule may use."""


@dataclass
class CompiledRule:
    """A rule's condition over mapped transactions.

    Attributes:
        when: The condition; a transaction for which it cannot be computed breaks the rule.
        first: Columns to add before, one after the other.
    """

    when: pl.Expr = field(default_factory=lambda: pl.lit(value=False))
    first: list[pl.Expr] = field(default_factory=list)


def compile_rule(when: str) -> CompiledRule:
    """Compile a rule's condition.

    Raises:
        FormulaError: It cannot be used, or is not a condition.
    """
    rule, schema = CompiledRule(), dict(RULE_COLUMNS)

    def keep(expression: pl.Expr) -> str:
        name = f"__rule_{len(rule.first)}"
        schema[name] = type_over(schema, expression)
        rule.first.append(expression.alias(name))
        return name

    compiled = compile_formula(when, partial(type_over, schema), keep)
    if compiled.dtype != pl.Boolean:
        raise FormulaError(
            f"a condition was expected, as in total < 0; the formula '{when}' gives something else"
        )
    failed = compiled.failed
    rule.when = compiled.value if failed is None else failed.is_not_null() | compiled.value
    return rule
