"""Drafts a mapping from a sample; unsure values are marked, and missing ones are left open."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import count
from pathlib import Path, PurePath

from pipeline.core.model import Dialect
from pipeline.mapping.language.mapping_file import read_mapping
from pipeline.mapping.language.shipped import shipped_mapping
from pipeline.mapping.language.value_spec import Number
from pipeline.mapping.language.yaml_text import in_single_quotes, listed, quoted
from pipeline.mapping.scaffold.infer_columns import (
    ColumnChoice,
    clock_formats,
    date_formats,
    has_offset,
    is_whole,
    states,
    values,
)
from pipeline.mapping.scaffold.infer_layout import InferredLayout, Sample, infer_layout
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
    inferred = infer_layout(samples)
    text = "\n\n".join("\n".join(part) for part in map(list, _parts(inferred)) if part) + "\n"
    left = unmapped_columns(read_mapping(Path("draft.yaml"), text.encode()).spec, inferred.columns)
    unused = [f"\n# Not used{_of(table, inferred)}: {', '.join(names)}\n" for table, names in left.items()]
    return text + "".join(unused)


def _of(table: str, inferred: InferredLayout) -> str:
    return f" of {table}" if inferred.layout == "tables" else ""


def _parts(inferred: InferredLayout) -> Iterator[Iterator[str]]:
    yield _head(inferred)
    yield _source(inferred)
    yield _columns(inferred)
    yield _define(inferred)
    yield _transaction(inferred)
    yield _completion(inferred)
    yield _profile(inferred)
    yield _payments(inferred)
    yield _items(inferred)


def _mark(*doubts: str) -> str:
    given = "; ".join(doubt for doubt in doubts if doubt)
    return f"  # unsure: {given}" if given else ""


def _open(missing: str) -> str:
    """A field that Omneo needs and no column holds: the draft does not run until a person fills it in."""
    return f"{{open: {missing}}}"


def _head(inferred: InferredLayout) -> Iterator[str]:
    name = re.sub(r"[^a-z0-9]+", "_", PurePath(inferred.sample.name).name.split(".")[0].lower()).strip("_")
    yield f"mapping: {name if name[:1].isalpha() else f'mapping_{name}'.rstrip('_')}"
    yield from (f"# unsure: {doubt}" for doubt in inferred.doubts)


# ── Source ──────────────────────────────────────────────────────────────────────────────────────────


def _source(inferred: InferredLayout) -> Iterator[str]:
    single = inferred.layout != "tables"
    yield "source:"
    if single:
        yield f"  inputs: {listed(inferred.sample.inputs)}"
    yield f"  layout: {inferred.layout}"
    if single:
        yield f"  key: {listed(inferred.key)}"
    yield from (f"  {line}" for line in inferred.source)
    dialect = _dialect(inferred.sample.dialect, sure=inferred.sample.sure)
    if dialect and inferred.sample.format == "csv":
        yield f"  csv: {dialect}{_mark('' if inferred.sample.sure else 'the encoding is a guess')}"
    sheet = inferred.sample.sheet
    if excel := _flow(
        {name: getattr(sheet, name) for name in ("sheet", "header_row") if getattr(sheet, name)}
    ):
        yield f"  excel: {excel}"
    if inferred.repeats:
        doubt = "equal rows may be real, since lines have no number; leave this out if they are not"
        yield f"  duplicates: keep{_mark(doubt)}"
    if number := _number(inferred.number):
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
    """Names and values on one line of YAML; an empty text where there are none."""
    written = (f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in given.items())
    return f"{{{', '.join(written)}}}" if given else ""


def _columns(inferred: InferredLayout) -> Iterator[str]:
    """The section `columns`, which is needed only where a formula computes the total."""
    quantity, price = inferred.item.get("quantity"), inferred.item.get("price")
    if "total" not in inferred.header and quantity and price and not inferred.by_line_total:
        yield "columns:"
        yield f"  {quoted(quantity.column)}: {'integer' if _whole(inferred) else 'decimal'}"
        yield f"  {quoted(price.column)}: decimal"


def _whole(inferred: InferredLayout) -> bool:
    column = inferred.item["quantity"].column
    return column not in inferred.lines.columns or is_whole(inferred.lines[column])


def _define(inferred: InferredLayout) -> Iterator[str]:
    if inferred.item and "line_no" not in inferred.item:
        yield "define:"
        yield "  # The file has no line numbers."
        yield f"  {_line(inferred)}: {{line_number: file}}"


def _line(inferred: InferredLayout) -> str:
    """The column with the line number, or a new name where no column holds it."""
    if choice := inferred.item.get("line_no"):
        return choice.column
    taken = {name for names in inferred.columns.values() for name in names}
    return next(name for name in (f"line{'_' * n}" for n in count()) if name not in taken)


def _joined(names: Sequence[str], by: str = "-") -> str:
    """A value that joins columns with a sign between them."""
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


def _transaction(inferred: InferredLayout) -> Iterator[str]:
    yield "transaction:"
    yield f"  external_id: {_joined(inferred.key)}"
    yield f"  receipt_ref: {quoted(inferred.key[-1])}"
    yield from _transacted_at(inferred)
    for role, name in _FIELDS.items():
        if choice := inferred.header.get(role):
            yield f"  {name}: {quoted(choice.column)}{_mark(choice.doubt)}"
    if "currency" not in inferred.header:
        yield from _currency(inferred.number)
    yield f"  total: {_total(inferred)}"


def _currency(number: Number) -> Iterator[str]:
    known = [_CURRENCIES.get(sign, sign) for sign in number.currency]
    found = next((code for code in known if len(code) == 3), "")
    if found:
        yield f"  currency: {{constant: {found}}}"
    else:
        yield "  # currency: {constant: ???}  # unsure: no column says it"


def _transacted_at(inferred: InferredLayout) -> Iterator[str]:
    choice = inferred.header.get("transacted_at")
    if choice is None:
        yield f"  transacted_at: {_open('no column holds dates')}"
        return
    rows = inferred.header_rows
    formats = date_formats(values(rows[choice.column]))
    clock = inferred.header.get("time")
    if clock and "H" not in formats[0]:
        yield "  transacted_at:"
        yield f"    {_joined((choice.column, clock.column), ' ')[1:-1]}"
        time = clock_formats(values(rows[clock.column]))[0]
        formats = [f"{form} {time}" for form in formats]
    else:
        yield "  transacted_at:"
        yield f"    column: {quoted(choice.column)}{_mark(choice.doubt)}"
    zone, doubt = _zone(inferred, formats[0])
    both = f"it could also be {' or '.join(formats[1:])}" if len(formats) > 1 else ""
    yield "    then:"
    yield f"      - datetime: {{formats: {listed(formats[:1])}{zone}}}{_mark(both, doubt)}"


def _zone(inferred: InferredLayout, form: str) -> tuple[str, str]:
    if has_offset(form):
        return "", ""
    if choice := inferred.header.get("timezone"):
        return f", timezone: {quoted(choice.column)}", choice.doubt
    return ", timezone: {constant: UTC}", "in which time zone these times are, as in Europe/London"


def _total(inferred: InferredLayout) -> str:
    if choice := inferred.header.get("total"):
        return quoted(choice.column) + _mark(choice.doubt)
    quantity, price, line = (inferred.item.get(role) for role in ("quantity", "price", "line_total"))
    added = _mark("no column holds the total, so lines are added up")
    if line and inferred.by_line_total:
        return f"{{sum: {quoted(line.column)}}}{added}"
    if price and quantity:
        formula = in_single_quotes(f"{_sql_name(quantity.column)} * {_sql_name(price.column)}")
        return f"{{sum: {{sql: {formula}}}}}{added}"
    if price:
        return f"{{sum: {quoted(price.column)}}}{added}"
    return _open("no column holds the total")


# ── Status, customer, payments ──────────────────────────────────────────────────────────────────────


def _completion(inferred: InferredLayout) -> Iterator[str]:
    choice, paid = inferred.header.get("status"), inferred.header.get("paid")
    paid = None if inferred.payment or (paid and paid.doubt) else paid
    if not choice and not paid:
        return
    yield "completion:"
    if choice:
        words = values(inferred.header_rows[choice.column]).unique().sort().to_list()
        known, unknown = states(words)
        yield f"  status: {quoted(choice.column)}{_mark(choice.doubt)}"
        if complete := [*known.pop("complete", []), *unknown]:
            doubt = f"what {', '.join(unknown)} means" if unknown else ""
            yield f"  complete: {listed(complete)}{_mark(doubt)}"
        yield from (f"  {state}: {listed(words)}" for state, words in known.items())
    if paid:
        yield f"  paid: {quoted(paid.column)}"


_HANDLES = {"email": "email", "card": "loyalty-card", "customer": "customer"}


def _profile(inferred: InferredLayout) -> Iterator[str]:
    found = [(inferred.header[role], handle) for role, handle in _HANDLES.items() if role in inferred.header]
    if found:
        yield "profile:"
    for choice, handle in found:
        doubt = "" if handle == "email" else "under which handle Omneo knows these ids"
        yield f"  - {{value: {quoted(choice.column)}, handle: {handle}}}{_mark(choice.doubt, doubt)}"


def _payments(inferred: InferredLayout) -> Iterator[str]:
    tender, amount = inferred.payment.get("tender"), inferred.payment.get("paid")
    if tender and amount:
        doubts = _mark(tender.doubt, amount.doubt)
        yield "payments_form: amounts"
        yield "payments:"
        yield f"  - {{tender: {quoted(tender.column)}, amount: {quoted(amount.column)}}}{doubts}"
    elif choice := inferred.header.get("tender"):
        yield "payments:"
        yield f"  - tender: {quoted(choice.column)}{_mark(choice.doubt)}"


# ── Items ───────────────────────────────────────────────────────────────────────────────────────────


def _items(inferred: InferredLayout) -> Iterator[str]:
    if not inferred.item:
        return
    price = _price(inferred)
    original = inferred.item.get("list_price")
    yield "items:"
    yield f"  external_id: {_joined((*inferred.key, _line(inferred)))}"
    yield f"  name: {_name(inferred)}"
    yield f"  quantity: {_quantity(inferred)}"
    yield f"  price_current: {_list_price(original, inferred) if original else price}"
    yield f"  price_sell: {price}"
    if original:
        yield f"  price_original: {quoted(original.column)}"
    for role, name in (("tax", "price_tax"), ("sku", "sku"), ("department", "department")):
        if choice := inferred.item.get(role):
            yield f"  {name}: {quoted(choice.column)}{_mark(choice.doubt)}"


def _list_price(choice: ColumnChoice, inferred: InferredLayout) -> str:
    """The list price; on lines where it is blank, the price that was paid."""
    price, rows = inferred.item.get("price"), inferred.lines
    sometimes = choice.column not in rows.columns or values(rows[choice.column]).len() < rows.height
    if price and sometimes:
        return f"{{first_of: {listed([choice.column, price.column])}}}{_mark(choice.doubt)}"
    return quoted(choice.column) + _mark(choice.doubt)


def _name(inferred: InferredLayout) -> str:
    found = [choice for role in ("name", "sku") if (choice := inferred.item.get(role))]
    if not found:
        return _open("no column holds what was sold")
    if len(found) == 1:
        return quoted(found[0].column) + _mark(found[0].doubt)
    return f"{{first_of: {listed([choice.column for choice in found])}}}{_mark(found[0].doubt)}"


def _quantity(inferred: InferredLayout) -> str:
    choice = inferred.item.get("quantity")
    if choice is None:
        return _open("no column holds a quantity")
    doubt = "" if _whole(inferred) else "some quantities are no whole numbers, which Omneo needs"
    return quoted(choice.column) + _mark(choice.doubt, doubt)


def _price(inferred: InferredLayout) -> str:
    price, line, quantity = (inferred.item.get(role) for role in ("price", "line_total", "quantity"))
    if line and inferred.by_line_total:
        doubts = _mark(line.doubt, "whether line totals are after discount and with tax")
        if quantity is None:
            return quoted(line.column) + doubts
        steps = f"[{{divide_by: {quoted(quantity.column)}}}, {{round: 4}}]"
        return f"{{column: {quoted(line.column)}, then: {steps}}}{doubts}"
    if price:
        return quoted(price.column) + _mark(price.doubt)
    return _open("no column holds a price")
