"""Compiles a mapping section by section; compiling is checking, so issues are collected on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import polars as pl

from pipeline.core.frames import MONEY
from pipeline.core.model import ITEM_FIELDS, TRANSACTION_FIELDS, TX, Kind
from pipeline.mapping.compile.column_plan import Aggregate, ColumnPlan
from pipeline.mapping.compile.compiled_mapping import CompiledMapping
from pipeline.mapping.compile.context import SET_APART, CompileContext
from pipeline.mapping.compile.fields import field_columns
from pipeline.mapping.compile.own_cells import SkippedRows
from pipeline.mapping.compile.section_rules import SECTION_RULES, why_not_of_own_cells
from pipeline.mapping.compile.sections import (
    amount_of,
    completion_columns,
    negated_as_a_whole,
    payment_columns,
    profile_columns,
)
from pipeline.mapping.compile.steps import read_datetime
from pipeline.mapping.compile.typed_expression import BLANK_TEXT, as_text
from pipeline.mapping.compile.value_rules import column_issues
from pipeline.mapping.compile.values import CHOOSING
from pipeline.mapping.functions import json_text
from pipeline.mapping.functions.datetimes import DATETIME
from pipeline.mapping.functions.lookup_tables import load_tables
from pipeline.mapping.functions.rule_conditions import RULE_COLUMNS, compile_rule
from pipeline.mapping.language.mapping_errors import FormulaError, Issues
from pipeline.mapping.language.source_map import Issue
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.language.value_spec import DateTime, Value
from pipeline.mapping.layout.row_kinds import columns_by_kind
from pipeline.mapping.usage import visitor
from pipeline.mapping.usage.column_names import name_issues, used_by_table, with_unknown
from pipeline.mapping.usage.used_columns import UsedColumns, columns_used, id_columns, values_of
from pipeline.mapping.usage.visitor import Scope

FAR_APART_HOURS: Final = 12
"""No sale takes this long. Rows further apart belong to several sales whose numbers start again each day."""
_TOTAL: Final = "__total"
"""The total as the source writes it, before a refund makes it negative."""


def examine(
    spec: MappingSpec,
    columns: Mapping[str, Sequence[str]] | None,
    *,
    directory: Path,
    sources: Sequence[str] | None,
    looked_up: Mapping[str, pl.DataFrame] | None = None,
) -> tuple[CompiledMapping, list[Issue]]:
    """Compile a mapping as far as possible.

    Args:
        spec: The mapping.
        columns: The source's columns by table (`lines`; or `headers`, `items`, `payments`); None where they
            are not known: every column that is used exists.
        directory: The mapping's own directory, under which look-up tables are.
        sources: The files on the command line, for look-up tables among them; None where they are not known.
        looked_up: Rows of look-up tables by name, where they are known without a file.

    Returns:
        The compiled mapping, which can be used where there is no issue; and all issues.
    """
    issues = Issues()
    tables, table_issues = load_tables(spec, directory, sources, looked_up)
    issues.add(*table_issues, *column_issues(spec))
    issues.broken |= {str(each.location[1]) for each in issues.found if each.location[0] == "columns"}
    for rule in SECTION_RULES:
        issues.add(*rule(spec))
    used = columns_used(spec)
    # Columns that the source lacks are reported below. Taking them as present shows what else is wrong.
    known = used_by_table(spec) if columns is None else with_unknown(spec, columns)
    plan = ColumnPlan(_available(spec, known, used), ids=id_columns(spec))
    compiler = _Compiler(CompileContext(spec, plan, tables, used, issues=issues))
    compiler.run()
    locations = {issue.location for issue in issues.found}
    issues.add(*(issue for issue in name_issues(spec, columns) if issue.location not in locations))
    return compiler.compiled, list(dict.fromkeys(issues.found))


def _available(
    spec: MappingSpec, columns: Mapping[str, Sequence[str] | frozenset[str]], used: UsedColumns
) -> dict[Scope, frozenset[str]]:
    """The source columns of each scope, which depend on the layout."""
    by_kind = columns_by_kind(columns, spec, used)
    every = frozenset(name for table in columns.values() for name in table)
    # The plan makes columns that a frame lacks blank.
    absent = (frozenset(spec.source.optional) - every) | spec.source.added_columns
    return {
        Scope.TRANSACTION: by_kind.headers | absent,
        Scope.LINE: by_kind.items | absent,
        Scope.PAYMENT: by_kind.payments | absent,
        Scope.MAPPED: frozenset(),
    }


class _Compiler:
    """Compiles one section after the other into `compiled`; issues are recorded in the context."""

    def __init__(self, context: CompileContext) -> None:
        self.spec = context.spec
        self.context = context
        self.compiled = CompiledMapping(context.spec, context.plan)
        self._refund: pl.Expr | None = None

    def run(self) -> None:
        """Compile all of the mapping. The refund comes first, since it changes amounts in other sections."""
        self._compile_refund()
        self._compile_transaction()
        self._compile_completion()
        with self._part("profile") as context:
            self.compiled.headers |= profile_columns(self.spec.profile, context)
        self._compile_payments()
        self._compile_row_rules()
        self._compile_lines()
        self._compile_items()
        self._compile_charges()
        self._compile_reward()
        self._compile_unused_definitions()
        for i, rule in enumerate(self.spec.rules):
            with self._part("rules", i, "when"):
                # `name_issues` reports names that a rule cannot use.
                if set(visitor.names_in_sql(rule.when)).issubset(RULE_COLUMNS):
                    compile_rule(rule.when)

    @contextmanager
    def _part(self, *location: str | int, scope: Scope = Scope.TRANSACTION) -> Iterator[CompileContext]:
        """A context for one part of the mapping. An error becomes an issue, and the next part is compiled."""
        is_field = location[0] in ("transaction", "items") and len(location) > 1
        context = replace(
            self.context.at(scope),
            location=location,
            target=str(location[1] if is_field else location[0]),
            items_only=location[0] == "items",
        )
        try:
            yield context
        except FormulaError as error:
            # An error that only follows from another issue is not reported.
            if not context.issues.around(location):
                context.note(error)

    # ── Refunds ─────────────────────────────────────────────────────────────────────────────────────

    def _compile_refund(self) -> None:
        if self.spec.refund:
            with self._part("refund", "when") as context:
                context.plan.derive(context.scope, "__refund", context.condition(self.spec.refund.when))
                self._refund = pl.col("__refund")

    def _refund_of(self, what: str) -> pl.Expr | None:
        """Where `total` or `quantity` has to become negative; None where nowhere."""
        return self._refund if self.spec.refund and what in self.spec.refund.negate else None

    def _negated(self, amount: pl.Expr, name: str = "") -> pl.Expr:
        refund = self._refund_of("total")
        if refund is None:
            return amount
        negative = -amount if name and TRANSACTION_FIELDS[name].either_sign else -amount.abs()
        return pl.when(refund).then(negative).otherwise(amount)

    def _broadcast_refund(self, scope: Scope) -> None:
        if self._refund is not None and scope is not Scope.TRANSACTION:
            self.context.plan.broadcast(scope, "__refund", "__refund")

    # ── Transactions ────────────────────────────────────────────────────────────────────────────────

    def _compile_transaction(self) -> None:
        for name, value in self.spec.transaction.items():
            with self._part("transaction", name) as context:
                columns = field_columns(TRANSACTION_FIELDS[name], context.compile(value), context)
                if name == "total" and self.spec.charges:
                    context.plan.derive(context.scope, _TOTAL, columns[name])
                if TRANSACTION_FIELDS[name].kind is Kind.DECIMAL:
                    columns[name] = self._negated(columns[name], name).cast(MONEY)
                self.compiled.headers |= columns
                if name == "transacted_at":
                    self._check_rows_far_apart(value, context)

    def _check_rows_far_apart(self, value: Value, context: CompileContext) -> None:
        """Warn where the lines from which a sale's time is chosen seem to belong to several sales."""
        if not any(isinstance(each.value, CHOOSING) for each in values_of(self.spec, value, context.scope)):
            return
        lines = replace(context.at(Scope.LINE), of_each_line=True)
        time = lines.compile(value)
        if time.dtype == pl.String:
            time = read_datetime(time, DateTime(formats=("iso",)), lines)
        ends = []
        for how in (pl.Expr.min, pl.Expr.max):
            name = context.fresh("end")
            context.plan.derive(Scope.LINE, name, time.value)
            context.plan.aggregate(Aggregate(name, name, how, DATETIME))
            ends.append(pl.col(name))
        first, last = ends
        context.check(
            "rows_far_apart",
            f"Rows of this sale are more than {FAR_APART_HOURS} hours apart; they may be of several sales.",
            (last - first) > pl.duration(hours=FAR_APART_HOURS),
            pl.format("{} to {} UTC", *(end.dt.strftime("%Y-%m-%d %H:%M:%S") for end in ends)),
        )

    def _compile_completion(self) -> None:
        headers, completion = self.compiled.headers, self.spec.completion
        with self._part("completion") as context:
            columns = completion_columns(completion, replace(context, target="paid"), self._negated)
            if completion and completion.void:
                mapped = headers.get("is_void", pl.lit(None, dtype=pl.Boolean))
                is_void = columns["status|outcome"] == "void"
                headers["is_void"] = pl.when(is_void).then(True).otherwise(mapped)
                headers.setdefault("is_void|raw", BLANK_TEXT)
            headers |= columns

    def _compile_payments(self) -> None:
        headers = self.compiled.headers
        if not self.spec.payments:
            headers["payments_total"] = pl.lit(None, dtype=MONEY)
            return
        scope = visitor.payment_scope(self.spec)
        with self._part("payments", scope=scope) as context:
            self._broadcast_refund(scope)
            entries, amounts = payment_columns(context, self._refund_of("total"))
            if scope is Scope.PAYMENT:
                self.compiled.payments = entries, amounts
                return
            given = pl.any_horizontal(amount.is_not_null() for amount in amounts)
            headers["payments"] = json_text.entries(entries)
            headers["payments_total"] = pl.when(given).then(pl.sum_horizontal(amounts)).cast(MONEY)

    # ── Items ───────────────────────────────────────────────────────────────────────────────────────

    def _compile_row_rules(self) -> None:
        skip = self.spec.source.rows.skip
        # `section_rules` reports names of other rows.
        if not any(
            why_not_of_own_cells(self.spec, name) for sql in skip for name in visitor.names_in_sql(sql)
        ):
            SkippedRows(self.spec, self.context.issues)

    def _compile_lines(self) -> None:
        lines = self.spec.lines
        if lines.skip:
            with self._part("lines", "skip", scope=Scope.LINE) as context:
                context.set_apart()
                self.compiled.not_items.append(SET_APART)
        if not lines.discount:
            return
        with self._part("lines", "discount", scope=Scope.LINE) as context:
            plan, scope = context.plan, context.scope
            plan.derive(scope, "__discount", context.condition(lines.discount))
            self.compiled.not_items.append("__discount")
            if lines.discount_amount is None:
                raise FormulaError("`discount` lines need `discount_amount`")
            section = replace(context, location=("lines",))
            amount = amount_of(section.compile(lines.discount_amount, "discount_amount"), context)
            plan.derive(scope, "__discount_amount", amount)
            reason = BLANK_TEXT
            if lines.discount_reason is not None:
                reason = as_text(section.compile(lines.discount_reason, "discount_reason")).value
            plan.derive(scope, "__discount_reason", reason)
            self._require_prices()
            void, is_discount = context.void_line(), pl.col("__discount")
            self.compiled.discounts = (
                {
                    "amount": pl.col("__discount_amount").abs(),
                    "reason": pl.col("__discount_reason"),
                    "taken_off": pl.lit(lines.discount_prices == "before"),
                },
                is_discount if void is None else is_discount & ~void,
            )

    def _compile_items(self) -> None:
        self._broadcast_refund(Scope.LINE)
        refund = self._refund_of("quantity")
        for name, value in self.spec.items.items():
            with self._part("items", name, scope=Scope.LINE) as context:
                columns = field_columns(ITEM_FIELDS[name], context.compile(value), context)
                if name == "quantity" and refund is not None:
                    kept = context.fresh("quantity")
                    context.plan.derive(context.scope, kept, columns[name])
                    whole = pl.col(kept).sum().over(TX)
                    columns[name] = negated_as_a_whole(pl.col(kept), whole, refund)
                self.compiled.items |= columns

    def _compile_charges(self) -> None:
        for i, charge in enumerate(self.spec.charges):
            with self._part("charges", i, "amount") as context:
                amount = amount_of(context.compile(charge.amount), context)
                if (refund := self._refund_of("total")) is not None:
                    amount = negated_as_a_whole(amount, pl.col(_TOTAL), refund)
                context.plan.derive(context.scope, f"__charge_{i}", amount)
                self.compiled.charges.append((charge, pl.col(f"__charge_{i}")))

    def _compile_reward(self) -> None:
        reward = self.spec.reward
        if reward:
            with self._part("reward", "amount") as context:
                amount = amount_of(context.compile(reward.amount), context)
                context.plan.derive(context.scope, "__reward", amount)
                self._require_prices()
                self.compiled.rewards = {
                    "amount": pl.col("__reward").abs(),
                    "reason": pl.lit(reward.reason),
                    "taken_off": pl.lit(reward.prices == "before"),
                }

    def _require_prices(self) -> None:
        if not {"quantity", "price_sell"} <= {*self.spec.items}:
            raise FormulaError(
                "spreading an amount over items needs `quantity` and `price_sell` under `items`"
            )

    # ── Definitions ─────────────────────────────────────────────────────────────────────────────────

    def _compile_unused_definitions(self) -> None:
        """Compile definitions that nothing uses into a plan of their own, only to find their issues."""
        context = self.context
        roots = [*visitor.all_roots(self.spec)]
        mentioned = {mention.name for root in roots for mention in visitor.mentions(root)}
        mentioned -= self.spec.define.keys()
        available = {scope: names | mentioned for scope, names in context.plan.available.items()}
        apart = replace(
            context, plan=ColumnPlan(available, ids=context.plan.ids), columns={}, scope=Scope.LINE
        )
        used = {name for _, name in context.columns}
        for name in self.spec.define.keys() - used:
            with suppress(FormulaError):
                apart.column(name)
