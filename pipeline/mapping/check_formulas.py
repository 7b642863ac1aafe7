"""What can be wrong with the formulas of a mapping, and with the names of columns in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from pipeline.errors import did_you_mean
from pipeline.mapping import spec as s
from pipeline.mapping import walk
from pipeline.mapping.columns import HEADER_PREFIX
from pipeline.mapping.document import Found
from pipeline.mapping.faults import FormulaError
from pipeline.mapping.formulas import compile_formula, in_words, parse_formula
from pipeline.mapping.names import Names, Use, uses
from pipeline.mapping.numbers import WORKING
from pipeline.mapping.rules import DERIVED, MAPPED, compile_rule
from pipeline.mapping.spec import MappingSpec
from pipeline.mapping.walk import Formula, Scope
from pipeline.mapping.words import quoted
from pipeline.names import usable_name

_BY_WORD: dict[str, pl.DataType] = {"integer": pl.Int64(), "decimal": WORKING, "boolean": pl.Boolean()}
_BY_STEP: dict[type[s.Frozen], pl.DataType] = {
    s.NumberStep: WORKING,
    s.DateTimeStep: pl.Datetime("us"),
    s.BooleanStep: pl.Boolean(),
}


def broken_formulas(spec: MappingSpec) -> Iterator[Found]:
    """Formulas that do not parse, or do not work on the types that their columns have."""
    for formula in walk.formulas(spec):
        try:
            _try(spec, formula)
        except FormulaError as error:
            yield Found(formula.place, str(error), text=formula.sql, at=error.at)


def _try(spec: MappingSpec, formula: Formula) -> None:
    """Compile a formula, as far as the types of its columns are known."""
    columns = parse_formula(formula.sql).columns
    types = {
        name: _mapped_type(name) if formula.scope is Scope.MAPPED else _column_type(spec, name)
        for name in columns
    }
    schema = {name: dtype for name, dtype in types.items() if dtype is not None}
    if len(schema) < len(types):
        return
    if formula.scope is Scope.MAPPED:
        compile_rule(formula.sql)
        return

    def type_of(expression: pl.Expr) -> pl.DataType:
        try:
            return pl.DataFrame(schema=schema).select(expression.alias("it")).dtypes[0]
        except pl.exceptions.PolarsError as error:
            raise FormulaError(str(error).strip().splitlines()[0]) from None

    def keep(expression: pl.Expr) -> str:
        name = f"__{len(schema)}"
        schema[name] = type_of(expression)
        return name

    given = compile_formula(formula.sql, type_of, keep).dtype
    if formula.condition and given != pl.Boolean:
        raise FormulaError(f"a condition was expected, as in status = 'PAID'; this gives {in_words(given)}")


def _column_type(spec: MappingSpec, name: str) -> pl.DataType | None:
    """The type of a column in a formula; None for a definition whose type is not plain."""
    if name in spec.define:
        value = spec.define[name]
        plain = isinstance(value, s.TemplateValue) and not value.then
        return pl.String() if plain else None
    kind = spec.columns.get(name)
    if kind is None:
        return pl.String()
    return _BY_WORD[kind] if isinstance(kind, str) else _BY_STEP[type(kind)]


def _mapped_type(name: str) -> pl.DataType | None:
    return MAPPED.get(name)


def unknown_names(names: Names) -> Iterator[Found]:
    """Names that are no column, no definition or, in a rule, no mapped field."""
    unknown = list(names.unknown())
    missing = list(dict.fromkeys(use.name for use, _, _ in unknown))
    there = names.there()
    if missing and not there:
        yield Found(("source",), _another_file(missing))
        unknown = []
    for use, known, whose in unknown:
        hint = did_you_mean(use.name, known) if len(missing) > len(there) else _instead(use, known)
        yield Found(use.place, f"there is no column '{use.name}' in {whose}{hint}", use.name)
    for place, name in names.shadowing():
        message = f"'{name}' is a column of the source as well; give the definition another name"
        yield Found(place, message)
    yield from _read_otherwise(names.spec)
    yield from _unknown_in_rules(names.spec)


def _another_file(missing: Sequence[str]) -> str:
    listed = ", ".join(missing[:_SHOWN]) + (", …" if len(missing) > _SHOWN else "")
    return (
        f"no column that the mapping uses is in the source ({listed}); is it another export? Under `csv`, "
        "`skip_lines` leaves out what stands above the header, `header: false` is for a file without one, "
        "and `delimiter` says what is between the cells"
    )


_SHOWN = 5


def _instead(use: Use, known: Sequence[str]) -> str:
    """What may have been meant where most columns are there: another one, or no column at all."""
    near = did_you_mean(use.name, known)
    if use.formula and (not near or use.name.isupper()):  # such as status = "VOID"
        return f"; a text stands in single quotes: '{use.name}'"
    if near:
        return near
    if use.place[0] in ("source", "columns") or use.place[-1] == "template":
        return ""
    return f"; write {{constant: {quoted(use.name)}}} for what is the same on every row"


def _read_otherwise(spec: MappingSpec) -> Iterator[Found]:
    """Names under which no reader gives a column, and no value can be defined."""
    for use in uses(spec):
        name = usable_name(use.name)
        if name != use.name:
            yield Found(use.place, f"a column '{use.name}' is read as '{name}'; write that", use.name)
    for name in spec.define:
        if name != usable_name(name) or name.startswith(HEADER_PREFIX):
            message = f"'{name}' cannot be defined; give it a name that begins with a letter"
            yield Found(("define", name), message)


def _unknown_in_rules(spec: MappingSpec) -> Iterator[Found]:
    elsewhere = [field for field, section in s.SET_ELSEWHERE.items() if getattr(spec, section)]
    fields = [*spec.transaction, *elsewhere, *DERIVED]
    for i, rule in enumerate(spec.rules):
        for name in walk.names_in(rule.when):
            if name not in fields:
                near = did_you_mean(name, fields) or f"; there are {', '.join(fields)}"
                yield Found(("rules", i, "when"), f"'{name}' is not a mapped field{near}", name)
