"""What each section of a mapping must hold before it can be compiled.

`SECTION_RULES` lists the rules; each takes a mapping and gives what is wrong with it.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final, get_args

from pipeline.core.codes import CODES
from pipeline.core.errors import did_you_mean
from pipeline.core.model import ITEM_FIELDS, LINES, TRANSACTION_FIELDS, Dialect, Kind, column_place
from pipeline.core.text.wording import count
from pipeline.mapping.language.source_map import Issue, Location
from pipeline.mapping.language.source_spec import Layout, Source
from pipeline.mapping.language.spec import STATES, Check, Condition, Expectation, MappingSpec
from pipeline.mapping.language.value_spec import (
    ConstantValue,
    DateTimeStep,
    DistinctValue,
    ListValue,
    LookupValue,
    ObjectValue,
    OpenValue,
    SplitAllStep,
    Value,
)
from pipeline.mapping.usage import visitor
from pipeline.mapping.usage.used_columns import columns_of, values_of
from pipeline.mapping.usage.visitor import LocatedValue, Scope

WITH_TOLERANCE: Final = tuple(code.name for code in CODES.values() if code.tolerance is not None)
"""Codes that compare amounts."""


def _required_fields(spec: MappingSpec) -> Iterator[Issue]:
    for name in ("external_id", "total", "transacted_at"):
        if name not in spec.transaction:
            yield Issue(("transaction",), f"`{name}` is not mapped; Omneo needs it on every transaction")
    for name in ("name", "quantity", "price_current", "price_sell"):
        if spec.items and name not in spec.items:
            yield Issue(("items",), f"`{name}` is not mapped; Omneo needs it on every item")


def _layout(spec: MappingSpec) -> Iterator[Issue]:
    source = spec.source
    # A layout that needs more to be said has a section of its own name.
    for name in (layout for layout in get_args(Layout) if layout in Source.model_fields):
        is_given = bool(getattr(source, name))
        if source.layout == name and not is_given:
            yield Issue(("source", "layout"), f"`layout: {name}` needs a section `{name}` beside it")
        elif is_given and source.layout != name:
            yield Issue(("source", name), f"`{name}` counts only with `layout: {name}`, not {source.layout}")
    if source.layout == "tables" and source.tables and "headers" not in source.tables:
        message = "`headers` is missing in `tables`: the file with one row per transaction"
        yield Issue(("source", "tables"), message)
    if spec.items and (why := source.why_no_items):
        yield Issue(("items",), f"there are no items to map: {why}")


def _key(spec: MappingSpec) -> Iterator[Issue]:
    source = spec.source
    keys: dict[Location, tuple[str, ...]] = {("source", "key"): source.key}
    keys |= {("source", "tables", str(name), "key"): table.key for name, table in source.tables.items()}
    if source.layout == "tables":
        headers = source.tables.get("headers")
        for name, table in source.tables.items():
            if headers and len(table.key) != len(headers.key):
                columns = count(len(headers.key), "column")
                message = f"the key was expected to have {columns}, as many as that of headers"
                yield Issue(("source", "tables", name, "key"), message)
        if source.key:
            message = "with `layout: tables` each table has its own `key`; leave this out"
            yield Issue(("source", "key"), message)
    elif not source.key:
        message = "`key` is missing: the columns that identify a transaction, as [receipt_no]"
        yield Issue(("source",), message)
    for location, key in keys.items():
        for i, part in enumerate(key):
            if why := why_not_of_own_cells(spec, part):
                yield Issue((*location, i), f"`{part}` cannot be part of a key: {why}", part)
    if source.carry_key and source.layout not in ("first_row", "records"):
        message = "a key is carried down only with `layout: first_row` or `layout: records`"
        yield Issue(("source", "carry_key"), message)


def why_not_of_own_cells(spec: MappingSpec, name: str) -> str:
    """Why a name cannot be used before rows are grouped into transactions; empty where it can."""
    if (value := spec.define.get(name)) is None:
        return ""
    if columns_of(spec, value, Scope.LINE) is None:
        return "it uses other rows, and before the key is known it is not known which rows belong together"
    if (columns_of(spec, value, Scope.LINE) or frozenset()) & spec.source.added_columns:
        return "equal rows are numbered later; put their number into the key by itself"
    if any(isinstance(each.value, LookupValue) for each in values_of(spec, value, Scope.LINE)):
        return "it looks something up, and only the row's own cells are known here"
    return ""


def _row_rules(spec: MappingSpec) -> Iterator[Issue]:
    source = spec.source
    if source.key and not {*source.key} - source.added_columns:
        message = (
            "rows with the same number are no sale; a column of the file was expected in the key as well"
        )
        yield Issue(("source", "key"), message)
    for name in source.added_columns & {*spec.define, *spec.columns}:
        message = f"'{name}' has another meaning already; choose another name"
        yield Issue(("source", "rows", "number_equal"), message)
    for i, sql in enumerate(spec.source.rows.skip):
        for name in visitor.names_in_sql(sql):
            if name in spec.source.added_columns:
                message = f"`{name}` cannot be used here: rows are left out before they are numbered"
                yield Issue(("source", "rows", "skip", i), message, name)
            if why := why_not_of_own_cells(spec, name):
                location: Location = ("source", "rows", "skip", i)
                yield Issue(location, f"`{name}` cannot be used here: {why}", name)


_DELIMITER_WORDS: Final = {
    **dict.fromkeys(("tab", "\\t", "tabs", "tsv"), '"\\t"'),
    "comma": '","',
    "semicolon": '";"',
    "pipe": '"|"',
    "fixed": "and the places of columns stand in `positions`",
    **dict.fromkeys(("space", "spaces", "blank", "blanks", "white space"), "whitespace"),
}


_SHEET_ROWS: Final = 1 << 20
"""The rows that a sheet of Excel can have."""


def _dialects(spec: MappingSpec) -> Iterator[Issue]:
    dialects: list[tuple[Location, Dialect]] = [(("source", "csv"), spec.source.csv)]
    dialects += [(("lookups", name, "csv"), table.csv) for name, table in spec.lookups.items()]
    for location, dialect in dialects:
        yield from _positions(dialect, location)
        if (dialect.delimiter or "").casefold() in _DELIMITER_WORDS:
            sign = _DELIMITER_WORDS[(dialect.delimiter or "").casefold()]
            message = f"'{dialect.delimiter}' is a word; write the delimiter itself: {sign}"
            yield Issue((*location, "delimiter"), message)
        long = ("comment", "delimiter") if location[0] == "source" else ("comment",)
        for name in ("delimiter", "quote", "escape", "comment"):
            text = getattr(dialect, name)
            if text is not None and len(text) != 1 and not (name in long and text):
                expected = "one or more characters were" if name in long else "one character was"
                yield Issue((*location, name), f"{expected} expected, not '{text}'")
        marks = ("\r", "\n", "\0", dialect.quote, dialect.escape)
        if dialect.delimiter and any(mark in dialect.delimiter for mark in marks if mark):
            message = (
                f"{dialect.delimiter!r} holds a quote, an escape or a line break;"
                " what stands between two cells was expected"
            )
            yield Issue((*location, "delimiter"), message)
        if dialect.skip_lines < 0:
            yield Issue((*location, "skip_lines"), f"0 or more lines were expected, not {dialect.skip_lines}")
        try:
            codecs.lookup(dialect.encoding)
        except LookupError:
            known = ("utf-8", "utf-16", "cp1252", "latin-1", "cp850", "iso-8859-15")
            near = did_you_mean(dialect.encoding, known) or f"; common are {', '.join(known)}"
            yield Issue((*location, "encoding"), f"'{dialect.encoding}' is not an encoding{near}")


def _positions(dialect: Dialect, location: Location) -> Iterator[Issue]:
    if dialect.positions is None:
        return
    if location[0] != "source":
        yield Issue((*location, "positions"), "a look-up table has a delimiter; `positions` is for sources")
    for name in ("delimiter", "escape"):
        if getattr(dialect, name) is not None:
            yield Issue((*location, name), f"with `positions` there is no `{name}`; leave it out")
    if dialect.header is not True:
        message = "with `positions` the columns have their names there; leave out a header by `skip_lines`"
        yield Issue((*location, "header"), message)
    if not dialect.positions:
        yield Issue((*location, "positions"), "a column and its place were expected, as in {Receipt: 1-8}")
    for name, text in dialect.positions.items():
        if column_place(text) is None:
            message = f"'{text}' is no place in a line; first and last character were expected, as in 1-8"
            yield Issue((*location, "positions", name), message)


def _completion(spec: MappingSpec) -> Iterator[Issue]:
    if not (completion := spec.completion):
        return
    states: dict[str, str] = {}
    by_formula = False
    for state in STATES:
        words = getattr(completion, state)
        location: Location = ("completion", state)
        if isinstance(words, Condition):
            location, words, by_formula = (*location, "status"), words.status, True
        if words and completion.status is None:
            yield Issue(location, "status words need `status`: the column that holds them")
        for i, word in enumerate(words):
            other = states.setdefault(word.strip().casefold(), state)
            if other != state:
                message = f"'{word}' is in `{other}` as well; a status means one thing"
                yield Issue((*location, i), message)
    if completion.status is not None and not states and not by_formula and completion.other == "reject":
        message = "no status is listed, so every sale would be rejected; list words under `complete`"
        yield Issue(("completion",), message)


def _payments(spec: MappingSpec) -> Iterator[Issue]:
    if spec.payments_form == "amounts":
        for i, payment in enumerate(spec.payments):
            if payment.amount is None:
                yield Issue(("payments", i), "`payments_form: amounts` needs an `amount` on every tender")
        if not spec.payments:
            yield Issue(("payments_form",), "there are no `payments` that it could shape")


def _lines(spec: MappingSpec) -> Iterator[Issue]:
    lines = spec.lines
    if lines.discount and lines.discount_amount is None:
        yield Issue(("lines", "discount"), "`discount_amount` is missing: the amount of such a line")
    if not lines.discount and (lines.discount_amount or lines.discount_reason):
        yield Issue(("lines",), "`discount` is missing: the condition for discount lines")
    if (lines.discount or lines.skip) and not spec.items:
        yield Issue(("lines",), "there are no `items`, so no line can be set apart from them")
    if spec.charges and not spec.items:
        yield Issue(("charges",), "there are no `items` beside which a charge could be one")
    ends = [charge.id_end for charge in spec.charges]
    for i, end in enumerate(ends):
        if not end or end in ends[:i]:
            what = "the name of another charge gives the same id" if end else "it has no letter and no digit"
            message = f"a charge's name is a part of its id, and {what}; give it another name"
            yield Issue(("charges", i, "name"), message)
    if spec.reward and not spec.items:
        yield Issue(("reward",), "there are no `items` that the reward could be spread over")


def _treatments(spec: MappingSpec) -> Iterator[Issue]:
    for name, treatment in spec.checks.items():
        has_tolerance = isinstance(treatment, Check) and treatment.tolerance is not None
        if has_tolerance and name not in WITH_TOLERANCE:
            message = f"`{name}` compares no amounts; a tolerance is for {', '.join(WITH_TOLERANCE)}"
            yield Issue(("checks", name, "tolerance"), message)


def _rules(spec: MappingSpec) -> Iterator[Issue]:
    counts = Counter(rule.code for rule in spec.rules)
    for i, rule in enumerate(spec.rules):
        if rule.code in CODES:
            message = f"`{rule.code}` is built in; give the rule a code of its own"
            yield Issue(("rules", i, "code"), message)
        elif counts[rule.code] > 1:
            yield Issue(("rules", i, "code"), f"`{rule.code}` is there {counts[rule.code]} times")


def _tests(spec: MappingSpec) -> Iterator[Issue]:
    layout_tables = tuple(str(name) for name in spec.source.tables) or (LINES,)
    from_source = tuple(name for name, table in spec.lookups.items() if table.from_ == "source")
    own_codes = tuple(rule.code for rule in spec.rules)
    for i, test in enumerate(spec.tests):
        here: Location = ("tests", i)
        if isinstance(test.rows, dict):
            if test.given:
                yield Issue((*here, "given"), "`given` is for a list of rows, not for rows by table")
            for name in test.rows:
                if name not in (known := (*layout_tables, *from_source)):
                    near = did_you_mean(name, known) or f"; there are {', '.join(known)}"
                    yield Issue((*here, "rows", name), f"'{name}' is not a table of the source{near}")
        elif spec.source.layout == "tables":
            message = f"rows by table were expected, as in {{{layout_tables[0]}: [{{...}}]}}"
            yield Issue((*here, "rows"), message)
        yield from _expectation(test.expect, (*here, "expect"), own_codes)


def _expectation(expect: Expectation, here: Location, own_codes: tuple[str, ...]) -> Iterator[Issue]:
    given = [name for name in Expectation.model_fields if getattr(expect, name) is not None]
    if len(given) != 1:
        yield Issue(here, "one of `payload`, `rejected` and `dropped` was expected")
    for name in ("rejected", "dropped"):
        code, known = getattr(expect, name), (*CODES, *own_codes)
        if code is not None and code not in known:
            yield Issue((*here, name), f"'{code}' is not a code{did_you_mean(code, known)}")
    fields = (*TRANSACTION_FIELDS, "items")
    for key in expect.payload or ():
        if key not in fields:
            message = f"a payload never has '{key}'{did_you_mean(key, fields)}"
            yield Issue((*here, "payload", key), message)


def _define(spec: MappingSpec) -> Iterator[Issue]:
    order = {name: i for i, name in enumerate(spec.define)}
    for name in spec.columns:
        if name in order:
            message = f"'{name}' is defined below; `columns` is for the source's own columns"
            yield Issue(("columns", name), message)
    for name, value in spec.define.items():
        for mention in visitor.mentions(LocatedValue(("define", name), value, Scope.LINE)):
            other = mention.name
            if other in order and order[other] >= order[name]:
                what = "mentions itself" if other == name else f"uses `{other}`, defined after it"
                message = f"`{name}` {what}; a definition may use columns and definitions above it"
                yield Issue(mention.location, message, other)


# ── Kinds of fields ─────────────────────────────────────────────────────────────────────────────────


def _kinds(spec: MappingSpec) -> Iterator[Issue]:
    sections = (
        ("transaction", spec.transaction, TRANSACTION_FIELDS),
        ("items", spec.items, ITEM_FIELDS),
    )
    for section, values, fields in sections:
        for name, value in values.items():
            parts = visitor.walk(LocatedValue((), value, Scope.TRANSACTION))
            # A value that is still open has no kind yet.
            if any(isinstance(part.value, OpenValue) for part in parts):
                continue
            kind = fields[name].kind
            if message := _wrong_kind(kind, value):
                yield Issue((section, name), message)
            if kind is Kind.DATETIME and not _has_date_format(spec, value):
                message = f"the format of `{name}` is missing; add {{datetime: {{formats: [...]}}}} to `then`"
                yield Issue((section, name), message)


def _worksheet(spec: MappingSpec) -> Iterator[Issue]:
    row = spec.source.excel.header_row
    if row is not None and not 1 <= row <= _SHEET_ROWS:
        yield Issue(
            ("source", "excel", "header_row"), "rows are counted from 1, as Excel shows them, to 1,048,576"
        )


def _currency(spec: MappingSpec) -> Iterator[Issue]:
    match spec.transaction.get("currency"):
        # Only without steps, because these may still change the word.
        case ConstantValue(constant=word, then=()) if not re.fullmatch("[A-Z]{3}", str(word)):
            message = f"'{word}' is not a currency; its three capital letters were expected, as in EUR"
            yield Issue(("transaction", "currency", "constant"), message)
        case _:
            pass


def _wrong_kind(kind: Kind, value: Value) -> str:
    expected = f"{'an' if kind.value[0] in 'aeio' else 'a'} {kind.value}"
    if kind in (Kind.OBJECT, Kind.OBJECTS):
        wanted = ObjectValue if kind is Kind.OBJECT else ListValue
        example = "{object: {name: column}}" if kind is Kind.OBJECT else "{list: [{object: {name: column}}]}"
        return "" if isinstance(value, wanted) else f"{expected} was expected here, as in {example}"
    if isinstance(value, ObjectValue):
        return f"an object cannot be here: {expected} was expected"
    last = None if isinstance(value, str) or not value.then else value.then[-1]
    if kind is not Kind.STRINGS and (
        isinstance(value, ListValue | DistinctValue) or isinstance(last, SplitAllStep)
    ):
        return f"a list cannot be here: {expected} was expected"
    return ""


def _has_date_format(spec: MappingSpec, value: Value) -> bool:
    """Whether a value, or a column or definition behind it, says how its dates are written."""
    for located in values_of(spec, value, Scope.TRANSACTION):
        steps = () if isinstance(located.value, str) else located.value.then
        kinds = (spec.columns.get(mention.name) for mention in visitor.own_mentions(located))
        if any(isinstance(each, DateTimeStep) for each in (*steps, *kinds)):
            return True
    return False


SECTION_RULES: Final[tuple[Callable[[MappingSpec], Iterator[Issue]], ...]] = (
    _required_fields,
    _key,
    _row_rules,
    _layout,
    _dialects,
    _completion,
    _payments,
    _lines,
    _treatments,
    _rules,
    _tests,
    _define,
    _kinds,
    _currency,
    _worksheet,
)
