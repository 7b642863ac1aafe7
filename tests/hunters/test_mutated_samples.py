"""The sample of each shipped mapping, changed as exports are: what differs is named, and the rest stays."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from pipeline.mapping.language.mapping_file import load_mapping
from pipeline.mapping.language.shipped import shipped_names, shipped_sample
from tests.fuzzing import examples, times
from tests.hunters.hunting import Found, in_order, prepared

pytestmark = [pytest.mark.slow, pytest.mark.timeout(times(600))]

BAD = "~Q7~"
DELIMITERS = {"shopware_orders": ";"}
Row = tuple[Any, ...]
MOST_ROWS = 60
"""Of a large sample: its first sales, so that each example takes a fraction of a second."""


@dataclass(frozen=True)
class SampleTable:
    """One file of an export; `keys` names the sale of each row, blank where it belongs to none.

    `schema` is that of a Parquet file, and None of another. The cells of JSON lines are JSON.
    """

    name: str
    header: list[str]
    rows: tuple[Row, ...]
    keys: tuple[str, ...]
    schema: pl.Schema | None = None

    def with_rows(self, changed: list[Pair], name: str = "") -> SampleTable:
        rows, keys = tuple(row for row, _ in changed), tuple(key for _, key in changed)
        return replace(self, rows=rows, keys=keys, name=name or self.name)

    @property
    def pairs(self) -> list[Pair]:
        return list(zip(self.rows, self.keys, strict=True))

    @property
    def another_name(self) -> str:
        path = Path(self.name)
        return f"{path.stem}-30{path.suffix}"


@dataclass(frozen=True)
class Mutation:
    """A changed export.

    Attributes:
        tables: Its files.
        touched: Keys of sales that may differ, where that is named; no others may.
        skipped: Rows to be skipped more than before.
        malformed: Rows that cannot be parsed.
        done: What happened, in words.
    """

    tables: list[SampleTable]
    touched: frozenset[str] = frozenset()
    skipped: int = 0
    malformed: int = 0
    done: str = ""


@cache
def sample(name: str) -> tuple[SampleTable, ...]:
    """The files of a mapping's sample that hold sales; look-up tables come too, with no keys."""
    path = shipped_sample(name)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return tuple(_table(name, file) for file in files)


def _table(name: str, path: Path) -> SampleTable:
    schema = pl.read_parquet_schema(path) if path.suffix == ".parquet" else None
    if path.suffix == ".jsonl":
        header, *rows = _json_lines(path)
    else:
        header, *rows = _parquet(path) if schema else _csv(path, DELIMITERS.get(name, ","))
    source = load_mapping(name).spec.source
    columns = list(source.key or ())
    for table in (source.tables or {}).values():
        if any(path.match(pattern) for pattern in table.inputs):
            columns = list(table.key)
    keys, above = [], ""
    for row in rows:
        cells = [str(row[header.index(column)]) for column in columns]
        above = "\x1f".join(cells) if any(cells) else above
        keys.append(above if columns else "")
    pairs = list(zip(rows, keys, strict=True))[:MOST_ROWS]
    if len(rows) > MOST_ROWS:
        # No sale is cut.
        pairs = [pair for pair in pairs if pair[1] != pairs[-1][1]]
    whole = tuple(tuple(row) for row, _ in pairs)
    return SampleTable(path.name, [*header], whole, tuple(key for _, key in pairs), schema)


def _csv(path: Path, delimiter: str) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.reader(file, delimiter=delimiter))


def _json_lines(path: Path) -> list[list[str]]:
    objects = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    names = list(dict.fromkeys(name for each in objects for name in each))
    return [names, *([json.dumps(each[name]) if name in each else "" for name in names] for each in objects)]


def _parquet(path: Path) -> list[Any]:
    frame = pl.read_parquet(path)
    return [frame.columns, *frame.rows()]


# ── What happens to exports ─────────────────────────────────────────────────────────────────────────

Pair = tuple[Row, str]


@dataclass(frozen=True)
class Place:
    """Where something happens: which of the tables, and which of its rows."""

    name: str
    tables: list[SampleTable]
    at: int
    n: int

    @property
    def table(self) -> SampleTable:
        return self.tables[self.at]

    @property
    def key(self) -> frozenset[str]:
        return frozenset([self.table.keys[self.n]])

    def instead(self, *new: SampleTable) -> list[SampleTable]:
        return [*self.tables[: self.at], *new, *self.tables[self.at + 1 :]]

    def with_row(self, row: Row, *, added: bool, key: str = "") -> list[SampleTable]:
        pairs = self.table.pairs
        pairs[self.n : self.n if added else self.n + 1] = [(row, key)]
        return self.instead(self.table.with_rows(pairs))


def copied(draw: st.DrawFn, place: Place) -> Mutation:
    return Mutation(place.instead(place.table, replace(place.table, name=place.table.another_name)))


def blank(draw: st.DrawFn, place: Place) -> Mutation:
    nothing = (None if place.table.schema else "",) * len(place.table.header)
    return Mutation(place.with_row(nothing, added=True), skipped=1)


def repeated_header(draw: st.DrawFn, place: Place) -> Mutation:
    return Mutation(place.with_row(tuple(place.table.header), added=True), skipped=1)


def split(draw: st.DrawFn, place: Place) -> Mutation:
    table, n = place.table, place.n
    both = frozenset(table.keys[:n]) & frozenset(table.keys[n:])
    parts = table.with_rows(table.pairs[:n]), table.with_rows(table.pairs[n:], table.another_name)
    return Mutation(place.instead(*parts), both)


def reordered(draw: st.DrawFn, place: Place) -> Mutation:
    blocks: list[list[Pair]] = []
    for pair in place.table.pairs:
        if not blocks or blocks[-1][-1][1] != pair[1]:
            blocks.append([])
        blocks[-1].append(pair)
    mixed = [pair for block in draw(st.permutations(blocks)) for pair in block]
    return Mutation(place.instead(place.table.with_rows(mixed)))


def malformed(draw: st.DrawFn, place: Place) -> Mutation:
    row = place.table.rows[place.n]
    changed = draw(st.sampled_from([row[:-1], (*row, "x", "y")]))
    tables = place.with_row(changed, added=False, key=place.table.keys[place.n])
    return Mutation(tables, place.key, malformed=1)


def spoilt(draw: st.DrawFn, place: Place) -> Mutation:
    row = place.table.rows[place.n]
    column = draw(st.sampled_from([column for column, cell in enumerate(row) if cell]))
    changed = (*row[:column], BAD, *row[column + 1 :])
    return Mutation(place.with_row(changed, added=False, key=place.table.keys[place.n]), place.key)


def doubled(draw: st.DrawFn, place: Place) -> Mutation:
    row, key = place.table.pairs[place.n]
    keeps = load_mapping(place.name).spec.source.duplicates == "keep"
    return Mutation(place.with_row(row, added=True, key=key), place.key if keeps else frozenset())


ANY = [copied, blank, split, reordered, doubled]
CHANGES = [*ANY, repeated_header, malformed, spoilt]


@st.composite
def mutations(draw: st.DrawFn, name: str) -> Mutation:
    tables = list(sample(name))
    at = draw(st.sampled_from([n for n, table in enumerate(tables) if any(table.keys)]))
    place = Place(name, tables, at, draw(st.integers(0, len(tables[at].rows) - 1)))
    change = draw(st.sampled_from(CHANGES if tables[at].name.endswith(".csv") else ANY))
    return replace(change(draw, place), done=f"{change.__name__} at row {place.n + 1} of {tables[at].name}")


def found_in(name: str, tables: list[SampleTable] | tuple[SampleTable, ...]) -> Found:
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory) / "in"
        home.mkdir()
        for table in tables:
            (home / table.name).write_bytes(_content(table, DELIMITERS.get(name, ",")))
        return prepared(Path(directory), name, [home / table.name for table in tables])


def _json(cell: str) -> Any:
    try:
        return json.loads(cell)
    except ValueError:
        return cell


def _content(table: SampleTable, delimiter: str) -> bytes:
    if table.name.endswith(".jsonl"):
        objects = [
            {name: _json(cell) for name, cell in zip(table.header, row, strict=True) if cell}
            for row in table.rows
        ]
        return "".join(f"{json.dumps(each)}\n" for each in objects).encode()
    if table.schema:
        packed = io.BytesIO()
        pl.DataFrame(list(table.rows), schema=table.schema, orient="row").write_parquet(packed)
        return packed.getvalue()
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(table.header)
    writer.writerows(table.rows)
    return text.getvalue().encode()


@cache
def before(name: str) -> Found:
    return found_in(name, sample(name))


def key_of(body: dict[str, Any], keys: frozenset[str]) -> set[str]:
    """Which of these keys a body is of: each of their cells stands in its ids."""
    ids = json.dumps([body["external_id"], body.get("receipt_ref")], ensure_ascii=False)
    return {key for key in keys if key and all(cell in ids for cell in key.split("\x1f"))}


@pytest.mark.parametrize("name", shipped_names())
def test_what_a_change_of_the_sample_does_is_named(name: str):
    @examples(2, fuzz=200)
    @given(mutations(name))
    def hunt(mutation: Mutation) -> None:
        note(mutation.done)
        check(name, mutation, before(name), found_in(name, mutation.tables))

    hunt()


def check(name: str, mutation: Mutation, clean: Found, found: Found) -> None:
    rows, transactions = found.summary.rows, found.summary.transactions
    assert rows.read == sum(len(table.rows) for table in mutation.tables if any(table.keys))
    # A record of a type that the mapping does not know is skipped by its rule, and counted.
    unknown = rows.skipped - clean.summary.rows.skipped - mutation.skipped
    assert unknown == 0 or (unknown == 1 and "spoilt" in mutation.done)
    assert rows.malformed == clean.summary.rows.malformed + mutation.malformed
    assert transactions.read == transactions.accepted + transactions.dropped + transactions.rejected
    # Items that are numbered by their place in the file have another number in another order.
    by_place = "line_number: file" in load_mapping(name).document.text
    moved = by_place and mutation.done.startswith(("reordered", "split"))
    for id_, body in clean.bodies.items():
        now = found.bodies.get(id_)
        if now is None or plain(now, moved) != plain(body, moved):
            assert key_of(body, mutation.touched), f"{id_} is {now} instead of {body}: {found.quarantine}"
            check_difference(id_, mutation, clean, found)
    before_rejected = {row["external_id"] for row in clean.quarantine}
    for id_ in found.bodies.keys() - clean.bodies.keys():
        assert mutation.touched, f"{id_} is new"
        assert BAD in str(found.bodies[id_]) or id_ in before_rejected, f"{id_} is new"


def check_difference(id_: str, mutation: Mutation, clean: Found, found: Found) -> None:
    """A sale that was touched and differs is named, or what differs can be seen in it."""
    now = found.bodies.get(id_)
    if now is None:
        named = any(
            row["external_id"] == id_ or key_cells_in(mutation.touched, str(row["raw"]))
            for row in found.quarantine
        )
        assert named or BAD in str(found.bodies) + found.set_aside, f"{id_} is gone in silence"
        return
    assert not mutation.malformed, f"{id_} goes short of a row: {now}"
    # Rows without a key at the start of a file are named, but nothing says whose they are.
    at_a_start = any(row["code"] == "key_missing" and row["line"] == 2 for row in found.quarantine)
    assert "split" not in mutation.done or at_a_start, f"{id_} is cut: {now}"
    # A cell that is text says so in the body; a doubled row is real where the mapping keeps them.
    seen = "doubled" in mutation.done or BAD in str(now) or at_a_start or new_warnings(clean, found)
    seen = seen or found.summary.rows.skipped > clean.summary.rows.skipped
    assert seen, f"{id_} differs in silence: {now} instead of {clean.bodies[id_]}"


def key_cells_in(keys: frozenset[str], text: str) -> bool:
    return any(all(cell in text for cell in key.split("\x1f")) for key in keys)


def new_warnings(clean: Found, found: Found) -> bool:
    return any(count > clean.summary.warnings.get(code, 0) for code, count in found.summary.warnings.items())


def plain(body: dict[str, Any], without_item_ids: bool) -> dict[str, Any]:
    ordered = in_order(body)
    if without_item_ids:
        items = [
            {name: value for name, value in item.items() if name != "external_id"}
            for item in ordered["items"]
        ]
        ordered["items"] = sorted(items, key=str)
    return ordered
