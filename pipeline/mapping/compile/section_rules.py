"""What each section of a mapping must hold for the compiler; it asks before it compiles."""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Iterator

from pipeline.core.codes import CODES
from pipeline.core.errors import did_you_mean
from pipeline.core.model import ITEM_FIELDS, TRANSACTION_FIELDS, Dialect, Kind
from pipeline.mapping.compile.defined_keys import unusable
from pipeline.mapping.language import spec as s
from pipeline.mapping.language.source_map import Found, Place
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.usage import visitor as walk
from pipeline.mapping.usage.visitor import Scope, Site


def _required_fields(spec: MappingSpec) -> Iterator[Found]:
    for name in ("external_id", "total", "transacted_at"):
        if name not in spec.transaction:
            yield Found(("transaction",), f"`{name}` is not mapped; Omneo needs it on every transaction")
    for name in ("name", "quantity", "price_current", "price_sell"):
        if spec.items and name not in spec.items:
            yield Found(("items",), f"`{name}` is not mapped; Omneo needs it on every item")


def _key(spec: MappingSpec) -> Iterator[Found]:
    source = spec.source
    if source.layout == "tables":
        for name, table in source.tables.items():
            headers = source.tables.get("headers")
            if headers and len(table.key) != len(headers.key):
                wanted = f"{len(headers.key)} columns, as many as that of headers"
                yield Found(("source", "tables", name, "key"), f"the key was expected to have {wanted}")
        if source.key:
            yield Found(
                ("source", "key"), "with `layout: tables` each table has its own `key`; leave this out"
            )
    elif not source.key:
        yield Found(
            ("source",), "`key` is missing: the columns that tell transactions apart, as [receipt_no]"
        )
    keys = {("source", "key"): source.key} | {
        ("source", "tables", str(kind), "key"): table.key for kind, table in source.tables.items()
    }
    for place, key in keys.items():
        for i, part in enumerate(key):
            if part in spec.define and (why := unusable(spec, part)):
                yield Found((*place, i), f"`{part}` cannot be part of a key: {why}", part)
    if source.carry_key and source.layout not in ("first_row", "records"):
        message = "a key is carried down only with `layout: first_row` or `layout: records`"
        yield Found(("source", "carry_key"), message)


def _layout(spec: MappingSpec) -> Iterator[Found]:
    source = spec.source
    for name in ("records", "nested", "tables"):
        there = bool(getattr(source, name))
        if source.layout == name and not there:
            yield Found(("source", "layout"), f"`layout: {name}` needs a section `{name}` beside it")
        elif there and source.layout != name:
            yield Found(("source", name), f"`{name}` counts only with `layout: {name}`, not {source.layout}")
    if source.layout == "tables" and source.tables and "headers" not in source.tables:
        yield Found(
            ("source", "tables"), "`headers` is missing in `tables`: the file with one row a transaction"
        )
    if spec.items and (why := _no_items(spec)):
        yield Found(("items",), f"there are no items to map: {why}")


def _no_items(spec: MappingSpec) -> str:
    source = spec.source
    if source.layout == "headers":
        return "`layout: headers` means one row a transaction without items"
    if source.layout == "tables" and source.tables and "items" not in source.tables:
        return "`tables` has no `items`"
    if source.layout == "records" and source.records and not source.records.item:
        return "`records` names no word for `item`"
    if source.layout == "nested" and source.nested and not source.nested.items:
        return "`nested` names no column for `items`"
    return ""


def _dialects(spec: MappingSpec) -> Iterator[Found]:
    dialects: list[tuple[Place, Dialect]] = [(("source", "csv"), spec.source.csv)]
    dialects += [(("lookups", name, "csv"), table.csv) for name, table in spec.lookups.items()]
    for place, dialect in dialects:
        for name in ("delimiter", "quote", "escape", "comment"):
            text = getattr(dialect, name)
            if text is not None and len(text) != 1 and not (name == "comment" and text):
                hint = '; a tab is "\\t"' if text.casefold() in ("tab", "\\t") else ""
                yield Found((*place, name), f"one character was expected, not '{text}'{hint}")
        try:
            codecs.lookup(dialect.encoding)
        except LookupError:
            known = ("utf-8", "utf-16", "cp1252", "latin-1", "cp850", "iso-8859-15")
            near = did_you_mean(dialect.encoding, known) or f"; common are {', '.join(known)}"
            yield Found((*place, "encoding"), f"'{dialect.encoding}' is not an encoding{near}")


def _completion(spec: MappingSpec) -> Iterator[Found]:
    if not (completion := spec.completion):
        return
    seen: dict[str, str] = {}
    for state in walk.STATES:
        words = getattr(completion, state)
        at: Place = ("completion", state)
        if isinstance(words, s.Condition):
            at, words = (*at, "status"), words.status
        if words and completion.status is None:
            yield Found(at, "status words need `status`: the column that holds them")
        for i, word in enumerate(words):
            state_before = seen.setdefault(word.strip().casefold(), state)
            if state_before != state:
                message = f"'{word}' is in `{state_before}` as well; a status means one thing"
                yield Found((*at, i), message)
    by_formula = any(isinstance(getattr(completion, state), s.Condition) for state in walk.STATES)
    if completion.status is not None and not seen and not by_formula and completion.other == "reject":
        message = "no status is listed, so every sale would be rejected; list words under `complete`"
        yield Found(("completion",), message)


def _payments(spec: MappingSpec) -> Iterator[Found]:
    for i, payment in enumerate(spec.payments):
        if spec.payments_form == "amounts" and payment.amount is None:
            yield Found(("payments", i), "`payments_form: amounts` needs an `amount` on every tender")
    if spec.payments_form == "amounts" and not spec.payments:
        yield Found(("payments_form",), "there are no `payments` that it could shape")


def _lines(spec: MappingSpec) -> Iterator[Found]:
    lines = spec.lines
    if lines.discount and lines.discount_amount is None:
        yield Found(("lines", "discount"), "`discount_amount` is missing: the amount of such a line")
    if not lines.discount and (lines.discount_amount or lines.discount_reason):
        yield Found(("lines",), "`discount` is missing: the condition that tells discount lines")
    if (lines.discount or lines.skip) and not spec.items:
        yield Found(("lines",), "there are no `items` that these lines could be told from")
    if spec.reward and not spec.items:
        yield Found(("reward",), "there are no `items` that the reward could be spread over")


def _treatments(spec: MappingSpec) -> Iterator[Found]:
    for name, treatment in spec.checks.items():
        compares = name in WITH_TOLERANCE
        if isinstance(treatment, s.Check) and treatment.tolerance is not None and not compares:
            message = f"`{name}` compares no amounts; a tolerance is for {', '.join(WITH_TOLERANCE)}"
            yield Found(("checks", name, "tolerance"), message)


WITH_TOLERANCE = tuple(code.name for code in CODES.values() if code.tolerance is not None)
"""Codes that compare amounts."""


def _rules(spec: MappingSpec) -> Iterator[Found]:
    counts = Counter(rule.code for rule in spec.rules)
    for i, rule in enumerate(spec.rules):
        if rule.code in CODES:
            message = f"`{rule.code}` is built in; give the rule a code of its own"
            yield Found(("rules", i, "code"), message)
        elif counts[rule.code] > 1:
            yield Found(("rules", i, "code"), f"`{rule.code}` is there {counts[rule.code]} times")


def _define(spec: MappingSpec) -> Iterator[Found]:
    order = {name: i for i, name in enumerate(spec.define)}
    for name in spec.columns:
        if name in order:
            message = f"'{name}' is defined below; `columns` is for the source's own columns"
            yield Found(("columns", name), message)
    for name, value in spec.define.items():
        for mention in walk.mentions(Site(("define", name), value, Scope.LINE)):
            other = mention.name
            if order.get(other, -1) >= order[name]:
                what = "mentions itself" if other == name else f"uses `{other}`, defined after it"
                message = f"`{name}` {what}; a definition may use columns and definitions above it"
                yield Found(mention.place, message, other)


def _kinds(spec: MappingSpec) -> Iterator[Found]:
    for section, values, fields in (
        ("transaction", spec.transaction, TRANSACTION_FIELDS),
        ("items", spec.items, ITEM_FIELDS),
    ):
        for name, value in values.items():
            kind = fields[name].kind
            if _is_open(value):
                continue
            if message := _wrong_kind(kind, value):
                yield Found((section, name), message)
            if kind is Kind.DATETIME and not _is_date(spec, value):
                message = (
                    f"how `{name}` is written is not said; add {{datetime: {{formats: [...]}}}} to `then`"
                )
                yield Found((section, name), message)


def _is_open(value: s.Value) -> bool:
    return any(isinstance(site.value, s.OpenValue) for site in walk.deep(Site((), value, Scope.TRANSACTION)))


def _wrong_kind(kind: Kind, value: s.Value) -> str:
    listed = isinstance(value, s.ListValue) or _ends_in(value, s.SplitAllStep)
    if kind in (Kind.OBJECT, Kind.OBJECTS):
        wanted = s.ObjectValue if kind is Kind.OBJECT else s.ListValue
        example = "{object: {name: column}}" if kind is Kind.OBJECT else "{list: [{object: {name: column}}]}"
        return "" if isinstance(value, wanted) else f"expected here is {_a(kind)}, as in {example}"
    if isinstance(value, s.ObjectValue) or (listed and kind is not Kind.STRINGS):
        what = "an object" if isinstance(value, s.ObjectValue) else "a list"
        return f"{what} cannot be here: expected is {_a(kind)}"
    return ""


def _ends_in(value: s.Value, step: type[s.Frozen]) -> bool:
    return not isinstance(value, str) and bool(value.then) and isinstance(value.then[-1], step)


def _is_date(spec: MappingSpec, value: s.Value) -> bool:
    """Whether a value, or a column or definition that it comes from, is told how its dates are written."""
    for site in walk.deep(Site((), value, Scope.TRANSACTION)):
        if not isinstance(site.value, str) and any(isinstance(t, s.DateTimeStep) for t in site.value.then):
            return True
        for mention in walk.mentions_here(site):
            if isinstance(spec.columns.get(mention.name), s.DateTimeStep):
                return True
            if mention.name in spec.define and _is_date(spec, spec.define[mention.name]):
                return True
    return False


def _a(kind: Kind) -> str:
    return f"{'an' if kind.value[0] in 'aeio' else 'a'} {kind.value}"


SECTION_RULES = (
    _required_fields,
    _key,
    _layout,
    _dialects,
    _completion,
    _payments,
    _lines,
    _treatments,
    _rules,
    _define,
    _kinds,
)
"""Each takes a mapping and gives what is wrong with it."""
