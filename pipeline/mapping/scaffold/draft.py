"""A first draft of a mapping from a sample; what is unsure is marked, and what is missing is left open."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import count
from pathlib import Path, PurePath

from pipeline.core.model import Dialect
from pipeline.mapping.language.load import read_mapping
from pipeline.mapping.language.shipped import shipped_mapping
from pipeline.mapping.language.value_spec import Number
from pipeline.mapping.language.yaml_text import in_single_quotes, listed, quoted
from pipeline.mapping.scaffold.infer_columns import (
    Pick,
    clock_formats,
    date_formats,
    has_offset,
    is_whole,
    states,
    values,
)
from pipeline.mapping.scaffold.infer_layout import Sample, Survey, survey
from pipeline.mapping.usage.column_names import unmapped_columns

__all__ = ["Sample", "copy_of", "draft"]


def copy_of(name: str) -> str:
    """The text of a shipped mapping, to start from.

    The line that tells editors where the schema is goes: a copy lies elsewhere.

    Raises:
        SettingsError: There is none of that name.
    """
    text = shipped_mapping(name).read_text(encoding="utf-8")
    return re.sub(r"\A# yaml-language-server:.*\n", "", text)


def draft(samples: Sequence[Sample]) -> str:
    """Draft a mapping.

    Args:
        samples: Of several that have the same columns, or some of another's, that with the most counts.

    Returns:
        YAML that passes `check` on these columns, but for required fields that no column holds: they are left
        `{open: …}`. Where a person has to decide stands `# unsure:`.

    Raises:
        SourceError: No sample has rows, or files have no column in common.
    """
    guess = survey(samples)
    text = "\n\n".join("\n".join(part) for part in map(list, _parts(guess)) if part) + "\n"
    left = unmapped_columns(read_mapping(Path("draft.yaml"), text.encode()).spec, guess.columns)
    unused = [f"\n# Not used{_of(table, guess)}: {', '.join(names)}\n" for table, names in left.items()]
    return text + "".join(unused)


def _of(table: str, guess: Survey) -> str:
    return f" of {table}" if guess.layout == "tables" else ""


def _parts(guess: Survey) -> Iterator[Iterator[str]]:
    yield _head(guess)
    yield _source(guess)
    yield _columns(guess)
    yield _define(guess)
    yield _transaction(guess)
    yield _completion(guess)
    yield _profile(guess)
    yield _payments(guess)
    yield _items(guess)


def _mark(*doubts: str) -> str:
    given = "; ".join(doubt for doubt in doubts if doubt)
    return f"  # unsure: {given}" if given else ""


def _open(missing: str) -> str:
    """A field that Omneo needs and for which nothing was found: the draft does not run until it is given."""
    return f"{{open: {missing}}}"


def _head(guess: Survey) -> Iterator[str]:
    name = re.sub(r"[^a-z0-9]+", "_", PurePath(guess.sample.name).name.split(".")[0].lower()).strip("_")
    yield f"mapping: {name if name[:1].isalpha() else f'mapping_{name}'.rstrip('_')}"
    yield from (f"# unsure: {doubt}" for doubt in guess.doubts)


# ── Source ──────────────────────────────────────────────────────────────────────────────────────────


def _source(guess: Survey) -> Iterator[str]:
    single = guess.layout != "tables"
    yield "source:"
    if single:
        yield f"  inputs: {listed(guess.sample.inputs)}"
    yield f"  layout: {guess.layout}"
    if single:
        yield f"  key: {listed(guess.key)}"
    yield from (f"  {line}" for line in guess.source)
    dialect = _dialect(guess.sample.dialect, sure=guess.sample.sure)
    if dialect and guess.sample.format == "csv":
        yield f"  csv: {dialect}{_mark('' if guess.sample.sure else 'the encoding is a guess')}"
    if guess.repeats:
        doubt = "equal rows may be real, since lines have no number; leave this out if they are not"
        yield f"  duplicates: keep{_mark(doubt)}"
    if number := _number(guess.number):
        yield f"  number: {number}"


def _number(number: Number) -> str:
    plain = Number()
    shown = {name: getattr(number, name) for name in Number.model_fields}
    return _flow({name: value for name, value in shown.items() if value != getattr(plain, name)})


def _dialect(dialect: Dialect, *, sure: bool) -> str:
    usual = Dialect(delimiter=",", encoding=Dialect().encoding if sure else "")
    shown = {part.name: getattr(dialect, part.name) for part in fields(Dialect)}
    return _flow({name: value for name, value in shown.items() if value != getattr(usual, name)})


def _flow(given: Mapping[str, object]) -> str:
    """Names and values in one line of YAML; an empty text where there are none."""
    written = (f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in given.items())
    return f"{{{', '.join(written)}}}" if given else ""


def _columns(guess: Survey) -> Iterator[str]:
    """Kinds are needed only where the total is computed by a formula."""
    quantity, price = guess.item.get("quantity"), guess.item.get("price")
    if "total" not in guess.header and quantity and price and not guess.by_line_total:
        yield "columns:"
        yield f"  {quoted(quantity.column)}: {'integer' if _whole(guess) else 'decimal'}"
        yield f"  {quoted(price.column)}: decimal"


def _whole(guess: Survey) -> bool:
    column = guess.item["quantity"].column
    return column not in guess.lines.columns or is_whole(guess.lines[column])


def _define(guess: Survey) -> Iterator[str]:
    if guess.item and "line_no" not in guess.item:
        yield "define:"
        yield "  # The file has no line numbers."
        yield f"  {_line(guess)}: {{line_number: file}}"


def _line(guess: Survey) -> str:
    """The column with the number of a line, or a name for one that no column has."""
    if pick := guess.item.get("line_no"):
        return pick.column
    taken = {name for names in guess.columns.values() for name in names}
    return next(name for name in (f"line{'_' * n}" for n in count()) if name not in taken)


def _joined(names: Sequence[str], by: str = "-") -> str:
    """Columns in a row, with a sign between them."""
    if len(names) == 1:
        return quoted(names[0])
    if any("{" in name or "}" in name for name in names):
        formula = f"CONCAT_WS('{by}', {', '.join(map(_sql_name, names))})"
        return f"{{sql: {in_single_quotes(formula)}}}"
    template = by.join(f"{{{name}}}" for name in names)
    return f"{{template: {quoted(template)}}}"


def _sql_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# ── Transactions ────────────────────────────────────────────────────────────────────────────────────

_FIELDS = {"store": "location_id", "staff": "staff_id", "currency": "currency", "timezone": "timezone"}
_CURRENCIES = {"€": "EUR", "£": "GBP"}


def _transaction(guess: Survey) -> Iterator[str]:
    yield "transaction:"
    yield f"  external_id: {_joined(guess.key)}"
    yield f"  receipt_ref: {quoted(guess.key[-1])}"
    yield from _transacted_at(guess)
    for role, name in _FIELDS.items():
        if pick := guess.header.get(role):
            yield f"  {name}: {quoted(pick.column)}{_mark(pick.doubt)}"
    if "currency" not in guess.header:
        yield from _currency(guess.number)
    yield f"  total: {_total(guess)}"


def _currency(number: Number) -> Iterator[str]:
    known = [_CURRENCIES.get(sign, sign) for sign in number.currency]
    found = next((code for code in known if len(code) == 3), "")
    if found:
        yield f"  currency: {{constant: {found}}}"
    else:
        yield "  # currency: {constant: ???}  # unsure: no column says it"


def _transacted_at(guess: Survey) -> Iterator[str]:
    pick = guess.header.get("transacted_at")
    if pick is None:
        yield f"  transacted_at: {_open('no column holds dates')}"
        return
    rows = guess.header_rows
    formats = date_formats(values(rows[pick.column]))
    clock = guess.header.get("time")
    if clock and "H" not in formats[0]:
        yield "  transacted_at:"
        yield f"    {_joined((pick.column, clock.column), ' ')[1:-1]}"
        time = clock_formats(values(rows[clock.column]))[0]
        formats = [f"{form} {time}" for form in formats]
    else:
        yield "  transacted_at:"
        yield f"    column: {quoted(pick.column)}{_mark(pick.doubt)}"
    zone, doubt = _zone(guess, formats[0])
    both = f"it could also be {' or '.join(formats[1:])}" if len(formats) > 1 else ""
    yield "    then:"
    yield f"      - datetime: {{formats: {listed(formats[:1])}{zone}}}{_mark(both, doubt)}"


def _zone(guess: Survey, form: str) -> tuple[str, str]:
    if has_offset(form):
        return "", ""
    if pick := guess.header.get("timezone"):
        return f", timezone: {quoted(pick.column)}", pick.doubt
    return ", timezone: {constant: UTC}", "in which time zone these times are, as in Europe/London"


def _total(guess: Survey) -> str:
    if pick := guess.header.get("total"):
        return quoted(pick.column) + _mark(pick.doubt)
    quantity, price, line = (guess.item.get(role) for role in ("quantity", "price", "line_total"))
    added = _mark("no column holds the total, so lines are added up")
    if line and guess.by_line_total:
        return f"{{sum: {quoted(line.column)}}}{added}"
    if price and quantity:
        formula = in_single_quotes(f"{_sql_name(quantity.column)} * {_sql_name(price.column)}")
        return f"{{sum: {{sql: {formula}}}}}{added}"
    if price:
        return f"{{sum: {quoted(price.column)}}}{added}"
    return _open("no column holds the total")


# ── Status, customer, payments ──────────────────────────────────────────────────────────────────────


def _completion(guess: Survey) -> Iterator[str]:
    pick, paid = guess.header.get("status"), guess.header.get("paid")
    paid = None if guess.payment or (paid and paid.doubt) else paid
    if not pick and not paid:
        return
    yield "completion:"
    if pick:
        words = values(guess.header_rows[pick.column]).unique().sort().to_list()
        known, unknown = states(words)
        yield f"  status: {quoted(pick.column)}{_mark(pick.doubt)}"
        if complete := [*known.pop("complete", []), *unknown]:
            doubt = f"what {', '.join(unknown)} means" if unknown else ""
            yield f"  complete: {listed(complete)}{_mark(doubt)}"
        yield from (f"  {state}: {listed(words)}" for state, words in known.items())
    if paid:
        yield f"  paid: {quoted(paid.column)}"


_HANDLES = {"email": "email", "card": "loyalty-card", "customer": "customer"}


def _profile(guess: Survey) -> Iterator[str]:
    found = [(guess.header[role], handle) for role, handle in _HANDLES.items() if role in guess.header]
    if found:
        yield "profile:"
    for pick, handle in found:
        doubt = "" if handle == "email" else "under which handle Omneo knows these ids"
        yield f"  - {{value: {quoted(pick.column)}, handle: {handle}}}{_mark(pick.doubt, doubt)}"


def _payments(guess: Survey) -> Iterator[str]:
    tender, amount = guess.payment.get("tender"), guess.payment.get("paid")
    if tender and amount:
        doubts = _mark(tender.doubt, amount.doubt)
        yield "payments_form: amounts"
        yield "payments:"
        yield f"  - {{tender: {quoted(tender.column)}, amount: {quoted(amount.column)}}}{doubts}"
    elif pick := guess.header.get("tender"):
        yield "payments:"
        yield f"  - tender: {quoted(pick.column)}{_mark(pick.doubt)}"


# ── Items ───────────────────────────────────────────────────────────────────────────────────────────


def _items(guess: Survey) -> Iterator[str]:
    if not guess.item:
        return
    price = _price(guess)
    original = guess.item.get("list_price")
    yield "items:"
    yield f"  external_id: {_joined((*guess.key, _line(guess)))}"
    yield f"  name: {_name(guess)}"
    yield f"  quantity: {_quantity(guess)}"
    yield f"  price_current: {_list_price(original, guess) if original else price}"
    yield f"  price_sell: {price}"
    if original:
        yield f"  price_original: {quoted(original.column)}"
    for role, name in (("tax", "price_tax"), ("sku", "sku"), ("department", "department")):
        if pick := guess.item.get(role):
            yield f"  {name}: {quoted(pick.column)}{_mark(pick.doubt)}"


def _list_price(pick: Pick, guess: Survey) -> str:
    """The list price; where it is blank on some lines, theirs is what was paid."""
    price, rows = guess.item.get("price"), guess.lines
    sometimes = pick.column not in rows.columns or values(rows[pick.column]).len() < rows.height
    if price and sometimes:
        return f"{{first_of: {listed([pick.column, price.column])}}}{_mark(pick.doubt)}"
    return quoted(pick.column) + _mark(pick.doubt)


def _name(guess: Survey) -> str:
    found = [pick for role in ("name", "sku") if (pick := guess.item.get(role))]
    if not found:
        return _open("no column holds what was sold")
    if len(found) == 1:
        return quoted(found[0].column) + _mark(found[0].doubt)
    return f"{{first_of: {listed([pick.column for pick in found])}}}{_mark(found[0].doubt)}"


def _quantity(guess: Survey) -> str:
    pick = guess.item.get("quantity")
    if pick is None:
        return _open("no column holds a quantity")
    doubt = "" if _whole(guess) else "some quantities are no whole numbers, which Omneo needs"
    return quoted(pick.column) + _mark(pick.doubt, doubt)


def _price(guess: Survey) -> str:
    price, line, quantity = (guess.item.get(role) for role in ("price", "line_total", "quantity"))
    if line and guess.by_line_total:
        doubts = _mark(line.doubt, "whether line totals are after discount and with tax")
        if quantity is None:
            return quoted(line.column) + doubts
        steps = f"[{{divide_by: {quoted(quantity.column)}}}, {{round: 4}}]"
        return f"{{column: {quoted(line.column)}, then: {steps}}}{doubts}"
    if price:
        return quoted(price.column) + _mark(price.doubt)
    return _open("no column holds a price")
