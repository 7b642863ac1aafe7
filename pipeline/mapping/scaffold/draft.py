"""Writes a reading as a mapping: what is sure says why, what is unsure is marked, the rest is left open."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path, PurePath

import polars as pl

from pipeline.core.model import Dialect
from pipeline.core.text.wording import agree, count, part
from pipeline.mapping.language.mapping_file import read_mapping
from pipeline.mapping.language.shipped import shipped_mapping
from pipeline.mapping.language.value_spec import Number
from pipeline.mapping.language.yaml_text import in_single_quotes, listed, quoted
from pipeline.mapping.scaffold.amounts.arithmetic import in_percent
from pipeline.mapping.scaffold.amounts.money import Money
from pipeline.mapping.scaffold.drafted_items import checks, items
from pipeline.mapping.scaffold.drafted_values import (
    because,
    column_value,
    counts_one,
    joined,
    line_column,
    line_worth,
    looked_up_name,
    mark,
    open_value,
    pieces_column,
    sale_value,
)
from pipeline.mapping.scaffold.reading import Reading, Statuses
from pipeline.mapping.scaffold.vocabulary.cells import are_names, plain, share, sql_name, values, words_of
from pipeline.mapping.scaffold.vocabulary.dates import replacing
from pipeline.mapping.scaffold.vocabulary.role_fit import fit, is_another_of
from pipeline.mapping.scaffold.vocabulary.statuses import is_fulfilment, is_prepared, is_sentence
from pipeline.mapping.usage.column_names import unmapped_columns

__all__ = ["copy_of", "draft"]


def copy_of(name: str) -> str:
    """The text of a shipped mapping, to start from.

    The line that tells editors where the schema is goes: a copy lies elsewhere.

    Raises:
        SettingsError: There is none of that name.
    """
    text = shipped_mapping(name).read_text(encoding="utf-8")
    return re.sub(r"\A# yaml-language-server:.*\n", "", text)


def draft(reading: Reading) -> str:
    """Write a reading as a mapping.

    Returns:
        YAML that passes `check` on the sample's columns, but for required fields that are left `{open: …}`.
        Where a person has to look stands `# unsure:`.
    """
    text = "\n\n".join("\n".join(part) for part in map(list, _parts(reading)) if part) + "\n"
    left = unmapped_columns(read_mapping(Path("draft.yaml"), text.encode()).spec, reading.shape.columns)
    unused = [
        f"\n# Not used{_of(table, reading)}: {', '.join(name + _unused(name, reading) for name in names)}\n"
        for table, names in left.items()
    ]
    return text + "".join(unused) + "".join(f"# Tried: {each}\n" for each in reading.tried)


def _unused(name: str, reading: Reading) -> str:
    """Why a column is not used that may be missed, in parentheses."""
    rows = reading.shape.own_headers
    filled = values(rows[name]) if rows.schema.get(name) == pl.String else pl.Series(dtype=pl.String)
    if filled.len() and fit(name, "customer") > 0 and are_names(filled):
        return " (names of people, which are no ids)"
    if filled.len() and is_another_of(name, reading.sale.get("tender", ""), "tender"):
        return f" (a second tender, in {count(filled.len(), 'sale')}, which is not sent)"
    return ""


def _of(table: str, reading: Reading) -> str:
    return f" of {table}" if reading.shape.layout == "tables" else ""


def _parts(reading: Reading) -> Iterator[Iterator[str]]:
    yield _head(reading)
    yield _source(reading)
    yield _lookups(reading)
    yield _columns(reading)
    yield _define(reading)
    yield _transaction(reading)
    yield _completion(reading)
    yield _refund(reading)
    yield _profile(reading)
    yield _payments(reading)
    yield items(reading)
    yield checks(reading)


def _head(reading: Reading) -> Iterator[str]:
    name = re.sub(r"[^a-z0-9]+", "_", PurePath(reading.shape.sample.name).name.split(".")[0].lower()).strip(
        "_"
    )
    yield f"mapping: {name if name[:1].isalpha() else f'mapping_{name}'.rstrip('_')}"
    if reading.proof:
        yield f"# {reading.proof}"
    yield from (f"# unsure: {note}" for note in reading.shape.notes)


# ── Source ──────────────────────────────────────────────────────────────────────────────────────────


def _source(reading: Reading) -> Iterator[str]:
    shape, sample = reading.shape, reading.shape.sample
    single = shape.layout != "tables"
    yield "source:"
    if single:
        yield f"  inputs: {listed(sample.inputs)}"
    yield f"  layout: {shape.layout}"
    if single:
        why = "" if shape.key.doubt else shape.key.why
        yield f"  key: {listed(shape.key.columns)}{mark(why) if shape.key.guessed else because(why)}"
    yield from (f"  {line}" for line in shape.source)
    dialect = _dialect(sample.dialect, sure=sample.sure)
    if dialect and sample.format == "csv":
        yield f"  csv: {dialect}{mark('' if sample.sure else 'the encoding is a guess')}"
    if excel := _flow(
        {n: getattr(sample.sheet, n) for n in ("sheet", "header_row") if getattr(sample.sheet, n)}
    ):
        yield f"  excel: {excel}"
    if _keeps_repeats(reading):
        yield f"  duplicates: keep{mark(_EQUAL_ROWS)}"
    tables = [sample] if single else [each for _, each in shape.tables]
    if nulls := list(dict.fromkeys(word for each in tables for word in each.nulls)):
        yield f"  nulls: {listed(nulls)}"
    if number := _number(reading.money.number):
        yield f"  number: {number}"


_EQUAL_ROWS = "equal rows may be real, since lines have no number; leave this out if they are not"


def _keeps_repeats(reading: Reading) -> bool:
    """Whether equal lines are real: sales have several lines, and no line has a number."""
    shape = reading.shape
    known = "line_no" in reading.line or not reading.has_items or shape.layout == "nested"
    lines = shape.lines.with_columns(pl.Series("at", shape.at))
    return not known and shape.has_several and bool(lines.is_duplicated().any())


def _number(number: Number) -> str:
    plain = Number()
    shown = {name: getattr(number, name) for name in Number.model_fields}
    return _flow({name: value for name, value in shown.items() if value != getattr(plain, name)})


def _dialect(dialect: Dialect, *, sure: bool) -> str:
    usual = Dialect(delimiter=",", encoding=Dialect().encoding if sure else "")
    shown = {part.name: getattr(dialect, part.name) for part in fields(Dialect)}
    return _flow({name: value for name, value in shown.items() if value != getattr(usual, name)})


def _flow(given: Mapping[str, object]) -> str:
    """Names and values on one line of YAML; an empty text where there are none."""
    written = (f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in given.items())
    return f"{{{', '.join(written)}}}" if given else ""


def _lookups(reading: Reading) -> Iterator[str]:
    if reading.shape.lookups:
        yield "lookups:"
        yield from reading.shape.lookups


def _columns(reading: Reading) -> Iterator[str]:
    """The section `columns`: the numbers that formulas use."""
    if named := [name for name in _numbers_in_formulas(reading) if name not in reading.shape.guarded]:
        yield "columns:"
        percents = _number(in_percent(reading.money.number))
        forms = dict.fromkeys(reading.money.percents, f"{{number: {percents}}}")
        yield from (f"  {quoted(name)}: {forms.get(name, 'decimal')}" for name in named)


def _numbers_in_formulas(reading: Reading) -> list[str]:
    formulas = " ".join(
        line
        for part in (_own_definitions, _transaction, _completion, _refund, items)
        for line in part(reading)
        if any(sign in line for sign in ("sql:", "when:", "count:"))
    )
    named = dict.fromkeys(reading.money.columns)
    return [name for name in named if sql_name(name).replace("'", "''") in formulas]


def _define(reading: Reading) -> Iterator[str]:
    if lines := [*_without_guards(reading), *_own_definitions(reading)]:
        yield "define:"
        yield from lines


def _without_guards(reading: Reading) -> Iterator[str]:
    """Columns whose cells are protected from spreadsheets, as far as the draft uses them."""
    if not reading.shape.guarded:
        return
    users = (_source, _own_definitions, _transaction, _completion, _refund, _profile, _payments, items)
    used = " ".join(line for part in users for line in part(reading))
    numbers = _numbers_in_formulas(reading)
    for name, old in reading.shape.guarded.items():
        if name not in used:
            continue
        if name in reading.shape.sample.days:
            why = because("its days are written in several forms, and one key needs one form")
            yield f"  {quoted(name)}:{why}"
            yield f"    column: {quoted(old)}"
            yield "    then:"
            yield from (f"      - {step}" for step in replacing(reading.shape.sample.days[name]))
            continue
        form = _number(reading.money.number) or "{}"
        step = f"unguard, {{number: {form}}}" if name in numbers else "unguard"
        why = because('its cells are written as ="000123" or \'000123, for spreadsheets')
        yield f"  {quoted(name)}: {{column: {quoted(old)}, then: [{step}]}}{why}"


def _own_definitions(reading: Reading) -> Iterator[str]:
    lines: list[str] = []
    if reading.has_items and "line_no" not in reading.line:
        lines.append(f"  {line_column(reading)}: {{line_number: file}}")
    if counts_one(reading):
        column, name = quoted(reading.money.quantity), sql_name(reading.money.quantity)
        whole = in_single_quotes(f"{name} <> 0 AND {name} = ROUND({name}, 0)")
        if not reading.money.whole:
            lines.append("  # Omneo's quantities are whole: a weighed one is 1 of what the line is.")
        gaps = reading.money.quantity in reading.money.gaps
        doubt = mark("some lines have no quantity and count as one piece" if gaps else "")
        lines.append(f"  {pieces_column(reading)}:{doubt}")
        lines.append(f"    case: [{{when: {whole}, value: {column}}}]")
        lines.append("    else: {constant: 1}")
    lines += [f"  {each.name}: {each.value}" for each in reading.no_sales if each.name]
    by_formula = line_worth(reading).startswith("{sql")
    looked_up = [n for n in (reading.money.price, reading.money.quantity) if n in reading.shape.found_in]
    lines += [f"  {quoted(looked_up_name(n))}: {column_value(reading, n)}" for n in looked_up if by_formula]
    yield from lines


# ── Transactions ────────────────────────────────────────────────────────────────────────────────────

_FIELDS = {"store": "location_id", "staff": "staff_id", "currency": "currency", "timezone": "timezone"}
_CODES = (
    *("usd", "eur", "gbp", "aud", "cad", "nzd", "inr", "brl", "pln", "jpy", "chf", "sek"),
    *("nok", "dkk", "czk", "huf", "try", "rub", "idr", "vnd", "mxn", "zar", "sgd", "hkd"),
)
"""Codes that names of amounts end with; others, such as `all`, are words too."""
_CURRENCIES = {"€": "EUR", "£": "GBP", "₹": "INR", "R$": "BRL", "zł": "PLN"}


def _transaction(reading: Reading) -> Iterator[str]:
    key, money = reading.shape.key, reading.money
    yield "transaction:"
    doubt = key.doubt or reading.opened.get("external_id", "")
    yield f"  external_id: {open_value(doubt) if doubt else joined(key.columns)}"
    if not key.guessed:
        yield f"  receipt_ref: {quoted(key.columns[-1])}"
    yield from _transacted_at(reading)
    code = _named_currency(money)
    for role, name in _FIELDS.items():
        if (column := reading.sale.get(role)) and not (code and role == "currency"):
            value = sale_value(reading, column)
            if role == "currency" and share(values(reading.shape.headers[column]), "[a-z]"):
                value = (
                    f"{{{value[1:-1] if value.startswith('{first') else f'column: {value}'}, then: [upper]}}"
                )
            yield f"  {name}: {value}"
    if code:
        yield f"  currency: {{constant: {code}}}{because(f'`{money.total}` says it')}"
    elif "currency" not in reading.sale:
        yield from _currency(money.number)
    doubt = money.doubt or reading.opened.get("total", "")
    if doubt:
        yield f"  total: {open_value(doubt)}{because(_likely_total(reading))}"
    else:
        yield f"  total: {_total(reading)}{because(money.why)}"


def _likely_total(reading: Reading) -> str:
    """What the total may be, to be written in place of the open value."""
    likely = _total(reading)
    return f"perhaps {likely}" if likely else ""


def _named_currency(money: Money) -> str:
    """The currency that the name of the total ends with: `amount_usd`; empty where it does not."""
    last = words_of(money.total)[-1:]
    return next((word.upper() for word in last if word in _CODES), "")


def _currency(number: Number) -> Iterator[str]:
    known = [_CURRENCIES.get(sign, sign) for sign in number.currency]
    found = next((code for code in known if len(code) == 3 and code.isupper()), "")
    if found:
        yield f"  currency: {{constant: {found}}}"
    else:
        yield "  # currency: {constant: ???}  # unsure: no column says it"


def _transacted_at(reading: Reading) -> Iterator[str]:
    when = reading.when
    doubt = reading.opened.get("transacted_at", "")
    if when is None or when.doubt or doubt:
        missing = doubt or (when.doubt if when else "no column holds dates")
        yield f"  transacted_at: {open_value(missing)}"
        return
    form = when.reading.formats[0]
    yield "  transacted_at:"
    if when.clock:
        yield f"    {joined((when.column, when.clock), ' ')[1:-1]}"
    else:
        yield f"    {'first' if when.differs else 'column'}: {quoted(when.column)}"
    zone, unsure = _zone(reading, form)
    yield "    then:"
    yield from (f"      - {step}" for step in when.reading.steps)
    why = when.reading.why or f"{_percent(when.reading.read)} of the dates are read so"
    said = mark(unsure, when.hours) or because(why)
    yield f"      - datetime: {{formats: {listed(when.formats)}{zone}}}{said}"
    if (unsure or when.hours) and when.reading.why:
        yield f"        # {when.reading.why}"


def _percent(share: float) -> str:
    return "all" if share == 1 else f"{share:.1%}"


def _zone(reading: Reading, form: str) -> tuple[str, str]:
    if reading.when and (zones := reading.when.zones):
        offsets = ", ".join(f"{name}: {offset}" for name, offset in zones.items())
        return f", abbreviations: {{{offsets}}}", f"which zone {', '.join(zones)} is"
    if form.startswith("epoch") or form.endswith(("%z", "Z", "UTC")):
        return "", ""
    doubt = reading.when.zone if reading.when else ""
    if (column := reading.sale.get("timezone")) and not doubt:
        return f", timezone: {quoted(column)}", ""
    doubt = doubt or "in which time zone these times are, as in Europe/London"
    return ", timezone: {constant: UTC}", doubt


def _total(reading: Reading) -> str:
    money = reading.money
    if money.total:
        return column_value(reading, money.total)
    worth = line_worth(reading)
    return f"{{sum: {worth}}}" if worth else ""


# ── Status, returns, customer, payments ─────────────────────────────────────────────────────────────


def _completion(reading: Reading) -> Iterator[str]:
    status, paid = reading.status, reading.money.paid
    if status is None and not paid and not reading.no_sales:
        return
    yield "completion:"
    asked = next((each.asked for each in reading.no_sales if each.asked), "")
    if status is not None:
        yield from _status(reading, status, asked)
    elif asked:
        yield f"  status: {open_value(f'{asked}, and take this line out')}"
    if reading.no_sales:
        conditions = " OR ".join(each.sql for each in reading.no_sales)
        doubt = "; ".join(f"{count(each.sales, 'sale')}: {each.why}" for each in reading.no_sales)
        yield f"  excluded: {{sql: {in_single_quotes(conditions)}}}{mark(doubt)}"
    if paid:
        yield f"  paid: {quoted(paid)}"


def _status(reading: Reading, status: Statuses, asked: str) -> Iterator[str]:
    known = dict(status.known)
    if status.unknown:
        words = ", ".join(f"{word} ({status.counts[word]:,})" for word in status.unknown)
        missing = f"what do {words} mean? Move each to its state below, then write {status.column} here"
        yield f"  status: {open_value('; '.join(each for each in (asked, missing) if each))}"
        complete = [*known.pop("complete", []), *status.unknown]
        doubt = "or void, draft, partially_paid, cancelled, order_open, excluded"
        yield f"  complete: {listed(complete)}{mark(doubt)}"
    elif asked:
        yield f"  status: {open_value(f'{asked}, then write {status.column} here')}"
    else:
        yield f"  status: {quoted(status.column)}"
    for state, meant in known.items():
        doubt, paid = _status_doubt(state, meant), ""
        if not doubt and (
            asked_for := [word for word in meant if state == "order_open" or is_fulfilment(word)]
        ):
            doubt, paid = _of_payments(state, status, asked_for)
        counts = _counts(status, meant) + (f"; {paid}" if paid else "")
        yield f"  {state}: {listed(meant)}{mark(doubt and f'{counts}; {doubt}') or because(counts)}"
    blank = reading.shape.headers.height - sum(status.counts.values())
    if blank:
        yield f"  # {count(blank, 'sale', 'has')} no status, and {agree(blank, 'is')} rejected."


def _status_doubt(state: str, words: Sequence[str]) -> str:
    if state == "void" and any(plain(word) not in _VOIDED for word in words):
        return "void is a sale that never was; a return that was paid back may be excluded, or complete"
    if state == "cancelled" and any(plain(word) in _VOIDED for word in words):
        return "a voided sale is left out here; write its word under void to import it as a void one"
    if any(plain(word) in _LOST for word in words):
        return "what was lost may have been paid for, and is a sale then"
    guessed = [word for word in words if is_sentence(word)]
    return f"what {', '.join(guessed)} mean follows only from a word in it" if guessed else ""


def _of_payments(state: str, status: Statuses, words: Sequence[str]) -> tuple[str, str]:
    """What is unsure of shipped or open sales since it depends on their payment, and what speaks for it."""
    are = ", ".join(words)
    if not status.paid:
        other = "not, they are order_open" if state == "complete" else "so, they are complete"
        is_asked = state == "complete" or any(map(is_prepared, words))
        return f"nothing says whether sales are paid that are {are}; if {other}" if is_asked else "", ""
    paid, number = (sum(counts[word] for word in words) for counts in (status.paid, status.counts))
    said = f"{part(paid, number, 'sale', 'is')} paid ({are})"
    is_sure = paid == number if state == "complete" else not paid
    return ("", said) if is_sure else (said, "")


def _counts(status: Statuses, words: Sequence[str]) -> str:
    *others, last = (status.counts[word] for word in words)
    return ", ".join([*(f"{number:,}" for number in others), count(last, "sale")])


def _refund(reading: Reading) -> Iterator[str]:
    if (refunds := reading.refunds) is None:
        return
    column = sql_name(refunds.column)
    sql = " OR ".join(f"{column} = {in_single_quotes(word)}" for word in refunds.words)
    if refunds.amount:
        sql = f"({sql}) AND {sql_name(refunds.amount)} > 0"
    yield f"refund: {{when: {in_single_quotes(sql)}}}  # their amounts are positive"


_VOIDED = ("void", "voided")
_LOST = ("lost", "perdido")
_HANDLES = {"email": "email", "card": "loyalty-card", "customer": "customer", "phone": "phone"}


def _profile(reading: Reading) -> Iterator[str]:
    found = [(reading.sale[role], handle) for role, handle in _HANDLES.items() if role in reading.sale]
    found = [(column, handle) for column, handle in found if handle != "phone" or len(found) == 1]
    if found:
        yield "profile:"
    for column, handle in found:
        doubt = "" if handle == "email" else "under which handle Omneo knows these ids"
        yield f"  - {{value: {sale_value(reading, column)}, handle: {handle}}}{mark(doubt)}"


def _payments(reading: Reading) -> Iterator[str]:
    if reading.paid:
        yield "payments_form: amounts"
        yield "payments:"
        yield f"  - {{tender: {quoted(reading.paid['tender'])}, amount: {quoted(reading.paid['paid'])}}}"
    elif columns := reading.money.tenders.columns:
        tenders = reading.money.tenders
        why = f"they add up to `{tenders.total}` in {tenders.equal:,} of {count(tenders.sales, 'sale')}"
        yield "payments_form: amounts"
        yield f"payments:{because(why)}"
        yield from (
            f"  - {{tender: {{constant: {quoted(name)}}}, amount: {quoted(name)}}}" for name in columns
        )
    elif column := reading.sale.get("tender"):
        yield "payments:"
        yield f"  - tender: {sale_value(reading, column)}"
