"""Sales, written in every layout and format and dirtied: nothing wrong, nothing lost, nothing in silence.

What must come out is known from the sales themselves, in plain Python; each row has a token of its own.
"""

from __future__ import annotations

import csv
import re
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given, note
from hypothesis import strategies as st

from pipeline.core.errors import CannotStart
from pipeline.core.memory import USUAL, Budget
from tests.fuzzing import examples, times
from tests.hunters.dirt import HARMLESS, OPERATIONS, Dirty, dirtied
from tests.hunters.hunting import Found, in_order, prepared
from tests.hunters.layouts import FORMATS, LAYOUTS, MALFORMED, File, Form, Line
from tests.hunters.sales import Sale, payload, some_sales

pytestmark = [pytest.mark.slow, pytest.mark.timeout(times(600))]

TOKEN = re.compile(r"[HIP]\d\d(?:x\d+)?C*Z")
BREAKING = ("malform", "spoil", "blank", "repeat_header", "split_between_sales")
OTHER_LINE = re.compile(r"\((?:(?P<source>[^()]+) )?line (?P<line>\d+)\)$")
MOVING = ("reorder", "overlap", "correct")
Place = tuple[str, int]
BUDGETS = st.sampled_from([USUAL, USUAL, Budget(partition_bytes=400), Budget(partition_bytes=100)])


@st.composite
def forms(draw: st.DrawFn, layout: str) -> Form:
    format_ = draw(st.sampled_from(FORMATS))
    typed = not format_.startswith("csv") and draw(st.booleans())
    has_items = layout != "headers"
    return Form(
        layout,
        format_,
        total=draw(st.sampled_from(["column", "sum"])) if has_items else "column",
        item_id=draw(st.sampled_from(["column", "column", "file", "content", "none"]))
        if has_items
        else "none",
        duplicates=draw(st.sampled_from(["drop", "keep"])),
        typed=typed,
        others="" if typed else draw(st.sampled_from(["", "", *FORMATS])),
        delimiter=draw(st.sampled_from([",", ";", "\t", "|", "||", "~|~"])),
        newline=draw(st.sampled_from(["\n", "\r\n"])),
        quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        encoding=draw(st.sampled_from(["utf-8", "utf-8-sig"])),
        ends=draw(st.booleans()),
        amounts=draw(st.sampled_from(["plain", "currency"])),
    )


@st.composite
def exports(draw: st.DrawFn, layout: str, operations: tuple[str, ...], most: int = 5) -> Dirty:
    form = draw(forms(layout))
    sales = draw(some_sales(several_payments=layout in ("records", "records_by_place", "tables", "nested")))
    return draw(dirtied(form, sales, operations, most))


def found_in(dirty: Dirty, directory: Path, *, budget: Budget = USUAL, later: int = 0) -> Found:
    """What the product makes of it; files were written so many seconds one after the other."""
    mapping = directory / "m.yaml"
    mapping.write_text(dirty.form.mapping())
    (directory / "in").mkdir(exist_ok=True)
    paths = [
        dirty.form.of_file(at, file).write(file, directory / "in", 1_700_000_000 + later * at)
        for at, file in enumerate(dirty.files)
    ]
    return prepared(directory, str(mapping), paths, budget)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_is_wrong_or_lost_or_in_silence(layout: str):
    @examples(5, fuzz=100)
    @given(exports(layout, OPERATIONS), BUDGETS, st.sampled_from([0, 10]))
    def hunt(dirty: Dirty, budget: Budget, later: int) -> None:
        note(describe(dirty))
        with tempfile.TemporaryDirectory() as directory:
            try:
                found = found_in(dirty, Path(directory), budget=budget, later=later)
            except CannotStart:
                # Cut within a character or a quote, a file is refused.
                assert any(file.cut < 1 for file in dirty.files) or has_no_column(dirty)
                event("refused")
                return
        check_bodies(dirty, found)
        check_rows(dirty, found)

    hunt()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_copies_splits_and_another_order_change_nothing(layout: str):
    @examples(2, fuzz=100)
    @given(exports(layout, HARMLESS), st.sampled_from([0, 10]))
    def hunt(dirty: Dirty, later: int) -> None:
        note(describe(dirty))
        clean = Dirty(dirty.form, dirty.form.clean(list(dirty.right.sales.values())), dirty.right)
        with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryDirectory() as another:
            found = found_in(dirty, Path(directory), later=later)
            once = found_in(clean, Path(another))
        # A number by place in the file is another in another order.
        places = dirty.form.item_id == "file" and any("reorder" in each for each in dirty.done)
        assert bodies(found, places) == bodies(once, places)
        assert found.summary.rejected == {}
        assert found.summary.totals["accepted"] == once.summary.totals["accepted"]

    hunt()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_fixing_the_rows_that_are_named_gives_the_whole(layout: str):
    @examples(2, fuzz=100)
    @given(exports(layout, BREAKING))
    def hunt(dirty: Dirty) -> None:
        note(describe(dirty))
        clean = dirty.form.clean(list(dirty.right.sales.values()))
        whole = accepted(Dirty(dirty.form, clean, dirty.right))
        meant = {line.token: line for file in clean for line in file.lines}
        with tempfile.TemporaryDirectory() as directory:
            try:
                found = found_in(dirty, Path(directory))
            except CannotStart:
                assert has_no_column(dirty)
                event("refused")
                return
        if not (dirty.form.format == "jsonl" and found.summary.rows.malformed):
            # Of a malformed object nobody can tell whose it is: its sale may be accepted without it.
            fixed = [replace(file, lines=to_fix(file, found, layout)) for file in clean]
            by_fixing = accepted(Dirty(dirty.form, fixed, dirty.right)) if found.quarantine else {}
            assert by_fixing.keys().isdisjoint(found.bodies)
            assert bodies(found, without_item_ids=dirty.form.item_id == "file") | by_fixing == whole
        # A sale that goes short of a row may have more to fix; that is seen once the row is there.
        while found.quarantine:
            named = named_places(found)
            before, dirty = dirty, in_place(dirty, named, meant)
            assert dirty.files != before.files, f"no broken row is named: {named}"
            with tempfile.TemporaryDirectory() as directory:
                found = found_in(dirty, Path(directory))
        assert not broken_places(dirty, (*MALFORMED, "bad_cell"))
        assert bodies(found, without_item_ids=dirty.form.item_id == "file") == whole

    hunt()


def has_no_column(dirty: Dirty) -> bool:
    """Whether all objects of a table are broken: what JSON lines call their columns stands in the others."""
    tables = {file.table for file in dirty.files}
    rows = {
        table: [line for file in dirty.files if file.table == table for line in file.lines]
        for table in tables
    }
    broken = [all(line.is_malformed or line.is_no_record for line in lines) for lines in rows.values()]
    return dirty.form.format == "jsonl" and any(broken)


def accepted(dirty: Dirty) -> dict[str, Any]:
    """The bodies of an export in which nothing is broken."""
    with tempfile.TemporaryDirectory() as directory:
        found = found_in(dirty, Path(directory))
    assert not found.quarantine, reasons(found)
    return bodies(found, without_item_ids=dirty.form.item_id == "file")


def to_fix(file: File, found: Found, layout: str) -> tuple[Line, ...]:
    """The rows of a clean file that are among the rows to fix, in their order."""
    names = [name for name in found.to_fix if layout != "tables" or name.startswith(file.table)]
    tokens = set(TOKEN.findall("\n".join(found.to_fix[name] for name in names)))
    return tuple(line for line in file.lines if line.token in tokens)


def in_place(dirty: Dirty, named: set[Place], meant: dict[str, Line]) -> Dirty:
    """The export with the rows at these places as they were meant."""
    files = []
    for at, file in enumerate(dirty.files):
        places = dirty.form.of_file(at, file).places(file)
        lines = [
            meant[line.token] if line.token and (file.name, place) in named else line
            for line, place in zip(file.lines, places, strict=True)
        ]
        files.append(replace(file, lines=tuple(lines)))
    return replace(dirty, files=files)


def bodies(found: Found, without_item_ids: bool) -> dict[str, Any]:
    ordered = {id_: in_order(body) for id_, body in found.bodies.items()}
    for body in ordered.values() if without_item_ids else ():
        for item in body.get("items", ()):
            item.pop("external_id", None)
    return ordered


def check_bodies(dirty: Dirty, found: Found) -> None:
    """Each accepted sale is exact, and those that nothing happened to are accepted."""
    form, right = dirty.form, dirty.right
    by_key = {sale.key: sale for sale in right.sales.values()}
    assert found.bodies.keys() <= by_key.keys()
    for key, body in found.bodies.items():
        sale = by_key[key]
        foreign = set(TOKEN.findall(str(body))) - family(sale)
        assert not foreign, f"{key} has rows of another sale: {foreign}"
        if sale.token not in right.free:
            assert sale.token not in right.rejected, f"{key} is accepted although a row of it is broken"
            assert comparable(body, form) == payload(
                sale, has_items=form.has_items, items_have_ids=form.item_id == "column"
            )
            # Of a sale in several files, the half that was copied may come last.
            moved = sale.token in right.unsure or any(each.startswith(MOVING) for each in dirty.done)
            if form.has_items and not moved:
                assert [item["name"] for item in body["items"]] == [item.title for item in sale.items]
        ids = [item["external_id"] for item in body.get("items", ()) if "external_id" in item]
        assert len(set(ids)) == len(ids)
    sure = by_key.keys() - {
        sale.key for token, sale in right.sales.items() if token in right.free | right.unsure | right.rejected
    }
    assert sure <= found.bodies.keys(), f"not accepted: {sure - found.bodies.keys()}: {reasons(found)}"


def comparable(body: dict[str, Any], form: Form) -> dict[str, Any]:
    ordered = in_order(body)
    if form.item_id in ("file", "content"):
        ordered["items"] = [
            {name: value for name, value in item.items() if name != "external_id"}
            for item in ordered["items"]
        ]
    return ordered


def family(sale: Sale) -> set[str]:
    """The tokens of a sale in any of its versions."""
    return sale.tokens | {token.replace("C", "") for token in sale.tokens}


def check_rows(dirty: Dirty, found: Found) -> None:
    """Each row that was written is found again: in a body, among what was set aside, or in a count."""
    rows, transactions = found.summary.rows, found.summary.transactions
    lines = [line for file in dirty.files for line in file.lines]
    assert transactions.read == transactions.accepted + transactions.dropped + transactions.rejected
    if any(file.cut < 1 for file in dirty.files):
        return
    assert rows.read == len(lines)
    assert rows.malformed == sum(line.is_malformed for line in lines)
    assert rows.skipped == sum(line.is_no_record for line in lines)
    assert malformed_places(found) == broken_places(dirty, MALFORMED)
    sent = set(TOKEN.findall(str(list(found.bodies.values()))))
    kept = set(TOKEN.findall(found.set_aside))
    gone = [line.token for line in lines if line.token and line.token not in sent | kept]
    assert len(gone) <= rows.duplicate, f"without a trace: {gone}, {rows.duplicate} duplicates"
    free = [sale.tokens for token, sale in dirty.right.sales.items() if token in dirty.right.free]
    assert set(gone) <= dirty.right.replaced.union(*free), f"of no older version: {gone}"
    for line in lines:
        assert not line.is_malformed or line.token in kept


def broken_places(dirty: Dirty, kinds: Sequence[str]) -> set[Place]:
    """The file and the line of each row of these kinds."""
    return {
        (file.name, place)
        for at, file in enumerate(dirty.files)
        for line, place in zip(file.lines, dirty.form.of_file(at, file).places(file), strict=True)
        if line.kind in kinds
    }


def malformed_places(found: Found) -> set[Place]:
    return {(_name(row["source"]), row["line"]) for row in found.quarantine if row["code"] == "malformed_row"}


def named_places(found: Found) -> set[Place]:
    """Where the reasons say that something is to be fixed: their own line, or the one in the message."""
    places = set()
    for row in found.quarantine:
        places.add((_name(row["source"]), row["line"]))
        if other := OTHER_LINE.search(row["message"]):
            places.add((_name(other["source"] or row["source"]), int(other["line"])))
    return places


def _name(source: str) -> str:
    return Path(source).name.partition(".")[0]


def reasons(found: Found) -> list[tuple[Any, ...]]:
    return [(row["external_id"], row["code"], row["line"], row["message"]) for row in found.quarantine]


def describe(dirty: Dirty) -> str:
    parts = [
        str(dirty.form),
        *dirty.done,
        f"right: {dirty.right.rejected=} {dirty.right.unsure=} {dirty.right.free=}",
    ]
    for file in dirty.files:
        text = dirty.form.content(file) if dirty.form.format in ("csv", "jsonl") else b"..."
        parts.append(f"--- {file.name} ({file.cut})\n{text.decode(errors='replace')}")
    return "\n".join(parts)
