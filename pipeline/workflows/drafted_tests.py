"""Tests of a mapping, drafted from real rows with made-up values for all that may identify somebody."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any, Final

from pipeline.core.errors import SourceError
from pipeline.core.model import LINES, TRANSACTION_FIELDS, Kind
from pipeline.core.text.privacy import is_personal_field, mask_text
from pipeline.mapping.language.mapping_file import LoadedMapping
from pipeline.mapping.language.spec import MappingSpec, SplitKind
from pipeline.mapping.usage.column_names import used_by_table
from pipeline.mapping.usage.used_columns import key_cells, personal_columns, transaction_columns
from pipeline.workflows.mapping_tests import Rows, result_of
from pipeline.workflows.preview import PreviewedTransaction, SourceRow

_NAMES: Final = ("Alex Morgan", "Sam Rivera", "Kim Larsen", "Robin Patel", "Jo Tanaka", "Chris Okafor")
_WIDTH: Final = 105
_DIGITS: Final = "123456789"
_PLAIN: Final = re.compile(r"[A-Za-z_][\w]*(?: [\w]+)*")
_NO_TEXTS: Final = (Kind.DECIMAL, Kind.INTEGER, Kind.DATETIME, Kind.BOOLEAN)
_SALES_FIELDS: Final = (
    "external_id",
    "receipt_ref",
    "linked_receipt_ref",
    "order_number",
    "external_order_id",
)


def drafted_tests(loaded: LoadedMapping, samples: Iterable[PreviewedTransaction]) -> str:
    """The section `tests` with a test of each sample, in YAML. Each of them passes.

    Names, emails and phone numbers are made up. Customers' and sales' own numbers get other digits, but keep
    their shape, unless the mapping needs them as they are.

    Raises:
        SourceError: A sale is judged differently by itself than among the rows of its file.
    """
    made_up = _MadeUp()
    return "\n".join(["tests:", *(_drafted(loaded, sample, made_up) for sample in samples)])


def _drafted(loaded: LoadedMapping, sample: PreviewedTransaction, made_up: _MadeUp) -> str:
    first = sample.rows[0]
    # First with other digits in numbers of sales; if the mapping needs these as they are, without.
    for ids in (_ids_of_sales(loaded.spec), frozenset[str]()):
        rows = _masked(loaded.spec, _by_table(loaded.spec, sample.rows), ids, made_up)
        rows = {**rows, **made_up.looked_up(sample.looked_up, rows)}
        result = result_of(loaded, rows)
        if len(result.ids) == 1 and result.payload is not None:
            break
    else:
        raise SourceError(
            f"{first.source}:{first.line}: this sale cannot be a test: by itself, with made-up names, it is "
            f"{result.became}.",
            hint="The mapping may compare names that were made up; write its test by hand.",
        )
    place = f"{PurePosixPath(first.source).name}, line {first.line}"
    return "\n".join([f"  - name: {_yaml(f'a sale as in {place}')}", *_rows(rows), *_payload(result.payload)])


def _by_table(spec: MappingSpec, rows: Sequence[SourceRow]) -> Rows:
    """The cells that the mapping uses."""
    used = used_by_table(spec)
    found: dict[str, list[dict[str, str | None]]] = {}
    for row in rows:
        cells = {name: cell for name, cell in row.cells.items() if name in used.get(row.table, ())}
        found.setdefault(row.table, []).append({**cells})
    return found


# ── Made-up values ──────────────────────────────────────────────────────────────────────────────────


def _ids_of_sales(spec: MappingSpec) -> frozenset[str]:
    """The columns that hold nothing but numbers of sales."""
    fields = [spec.transaction[name] for name in _SALES_FIELDS if name in spec.transaction]
    ids = {*key_cells(spec, spec.source.all_keys), *transaction_columns(spec, fields)}
    others = [value for name, value in spec.transaction.items() if name not in _SALES_FIELDS]
    return frozenset(ids - transaction_columns(spec, others))


def _masked(spec: MappingSpec, rows: Rows, ids: frozenset[str], made_up: _MadeUp) -> Rows:
    """The rows with made-up values in personal columns and in those of `ids`; equal cells stay equal."""
    personal = personal_columns(spec)
    # A column named `Card` may hold what was paid with it, and `Customer date` is a date.
    others = [value for each in spec.payments for value in (each.tender, each.amount) if value is not None]
    others += [
        value for name, value in spec.transaction.items() if TRANSACTION_FIELDS[name].kind in _NO_TEXTS
    ]
    typed = (name for name, kind in spec.columns.items() if not isinstance(kind, SplitKind))
    of_no_person = {*transaction_columns(spec, others), *typed}

    def masked(name: str, cell: str) -> str:
        if parsed := _list_in(cell):
            return json.dumps(inside(name, parsed), default=str, ensure_ascii=False)
        if name in personal or (is_personal_field(name) and name not in of_no_person):
            return made_up.person(cell)
        return made_up.digits(cell) if name in ids else made_up.free_text(cell)

    def inside(name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: inside(key, each) for key, each in value.items()}
        if isinstance(value, list):
            return [inside(name, each) for each in value]
        return masked(name, value) if isinstance(value, str) else value

    return {
        table: [{name: cell and masked(name, cell) for name, cell in row.items()} for row in each]
        for table, each in rows.items()
    }


def _list_in(cell: str | None) -> list[Any] | dict[str, Any] | None:
    """The list or object that a cell holds as JSON; None where it holds neither."""
    try:
        parsed = json.loads(cell, parse_float=Decimal) if cell and cell[0] in "[{" else None
    except ValueError:
        return None
    return parsed if isinstance(parsed, list | dict) else None


class _MadeUp:
    """Values that are made up, the same one for the same cell."""

    def __init__(self) -> None:
        # Always the same numbers, so that a draft of the same rows is the same.
        self._random = random.Random(0)  # noqa: S311 (nothing is kept secret by it)
        self._digits: dict[str, str] = {}
        self._people: dict[str, str] = {}

    def digits(self, text: str) -> str:
        """The same text with other digits; zeros stay where they are."""
        if text not in self._digits:
            self._digits[text] = re.sub("[1-9]", lambda _: self._random.choice(_DIGITS), text)
        return self._digits[text]

    def person(self, text: str) -> str:
        """An email for an email, other digits for a number, and a name for anything else."""
        if text not in self._people:
            number = len(self._people)
            if "@" in text:
                made_up = f"person{number + 1}@example.com"
            elif any(map(str.isdigit, text)):
                made_up = self.digits(text)
            else:
                made_up = _NAMES[number % len(_NAMES)]
            self._people[text] = made_up
        return self._people[text]

    def looked_up(self, looked_up: Rows, rows: Rows) -> Rows:
        """Rows of look-up tables, with the same values replaced as in the rows of a sale."""
        kept = {cell for each in rows.values() for row in each for cell in row.values()}
        known = {**self._digits, **self._people}

        def replaced(cell: str | None) -> str | None:
            return cell if not cell or cell in kept else known.get(cell, self.free_text(cell))

        return {
            name: [{column: replaced(cell) for column, cell in row.items()} for row in each]
            for name, each in looked_up.items()
        }

    def free_text(self, text: str) -> str:
        """The same text, but what looks like an email, a phone or a card in it."""
        return text if mask_text(text) == text else self.person(text)


# ── YAML ────────────────────────────────────────────────────────────────────────────────────────────


def _rows(rows: Rows) -> Iterator[str]:
    if list(rows) == [LINES]:
        each = rows[LINES]
        common = {name: cell for name, cell in each[0].items() if all(row.get(name) == cell for row in each)}
        if len(each) > 1 and common:
            yield from _object("    given: ", _cells(common))
            each = [{name: cell for name, cell in row.items() if name not in common} for row in each]
        yield "    rows:"
        for row in each:
            yield from _object("      - ", _cells(row))
        return
    yield "    rows:"
    for table, each in rows.items():
        yield f"      {table}:"
        for row in each:
            yield from _object("        - ", _cells(row))


def _cells(row: Mapping[str, str | None]) -> dict[str, Any]:
    """The cells as YAML shows them best: a list in JSON becomes a list."""
    return {name: _list_in(cell) or cell for name, cell in row.items()}


def _payload(payload: Mapping[str, Any]) -> Iterator[str]:
    yield "    expect:"
    yield "      payload:"
    for name, value in payload.items():
        if isinstance(value, list) and value and isinstance(value[0], Mapping):
            yield f"        {name}:"
            for member in value:
                yield from _object("          - ", member)
        else:
            yield f"        {name}: {_yaml(value)}"


def _object(before: str, value: Mapping[str, Any]) -> Iterator[str]:
    """An object, broken over lines where it is long; so are the lists in it."""
    line, next_line = f"{before}{{", " " * (len(before) + 1)
    for n, part in enumerate(parts := _parts(value)):
        if n and len(line) + len(part) > _WIDTH:
            yield line.rstrip()
            line = next_line
        line += part if n == len(parts) - 1 else f"{part} "
    yield f"{line}}}"


def _parts(value: Mapping[str, Any]) -> list[str]:
    """The members of an object, cut where a line may end: also within the lists and objects in it."""
    found: list[str] = []
    for name, each in value.items():
        pieces = _pieces(each)
        pieces[0] = f"{_key(name)}: {pieces[0]}"
        found += [*pieces[:-1], f"{pieces[-1]},"]
    return [*found[:-1], found[-1].removesuffix(",")] if found else []


def _pieces(value: Any) -> list[str]:
    """A value in pieces between which a line may end."""
    if isinstance(value, list) and value:
        members = [_pieces(member) for member in value]
        pieces = [piece for each in members for piece in (*each[:-1], f"{each[-1]},")]
        brackets = "[]"
    elif isinstance(value, Mapping) and len(_yaml(value)) > _WIDTH:
        pieces, brackets = _parts(value), "{}"
    else:
        return [_yaml(value)]
    pieces[0] = f"{brackets[0]}{pieces[0]}"
    pieces[-1] = f"{pieces[-1].removesuffix(',')}{brackets[1]}"
    return pieces


def _yaml(value: Any) -> str:
    """A value on one line. Texts stand in quotes, as JSON has them, which YAML reads as well."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_key(name)}: {_yaml(each)}' for name, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    return format(value, "f") if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else json.dumps(name, ensure_ascii=False)
