"""What happens to exports: files split, copied, overlapping, corrected, cut; rows broken, repeated, moved."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal

from hypothesis import strategies as st

from tests.hunters.layouts import BY_PLACE, MALFORMED, File, Form, Line
from tests.hunters.sales import Sale

BAD_CELLS = {"Qty": "two", "Price": "1.2.3", "Sold": "2024-02-31 10:00:00", "Total": "12..5", "Paid": "1O.00"}
HARMLESS = ("copy", "reorder", "blank", "repeat_header", "split_between_sales")
OPERATIONS = (*HARMLESS, "split", "overlap", "correct", "truncate", "malform", "spoil", "double_row")
PART_OF_A_SALE = ("split", "overlap", "truncate")


@dataclass
class RightSales:
    """What may become of each sale, by its token.

    Attributes:
        sales: The version that counts.
        rejected: Must not be accepted.
        unsure: Exact or rejected; a sale in none of the sets must be accepted, exact.
        free: Rows may be gone without a trace, so what is accepted may differ; still no other sale's token.
        replaced: Tokens of rows that a correction has no more.
    """

    sales: dict[str, Sale]
    rejected: set[str] = field(default_factory=set)
    unsure: set[str] = field(default_factory=set)
    free: set[str] = field(default_factory=set)
    replaced: set[str] = field(default_factory=set)


@dataclass
class Dirty:
    """An export after what happened to it, and the operations in order, for whoever reads a failure."""

    form: Form
    files: list[File]
    right: RightSales
    done: list[str] = field(default_factory=list)


@st.composite
def dirtied(draw: st.DrawFn, form: Form, sales: list[Sale], operations: tuple[str, ...], most: int) -> Dirty:
    """A clean export to which up to so many of these operations happened; those on rows come first."""
    dirty = Dirty(form, form.clean(sales), RightSales({sale.token: sale for sale in sales}))
    chosen = draw(st.lists(st.sampled_from(operations), min_size=1, max_size=most))
    first = ("malform", "spoil", "double_row", "reorder", "blank", "repeat_header")
    for name in sorted(chosen, key=lambda name: (name in ("correct", "truncate"), name not in first)):
        _OPERATIONS[name](draw, dirty)
    return dirty


def _file(draw: st.DrawFn, dirty: Dirty) -> int:
    return draw(st.integers(0, len(dirty.files) - 1))


def _put(dirty: Dirty, at: int, lines: list[Line]) -> None:
    dirty.files[at] = replace(dirty.files[at], lines=tuple(lines))


def _new_name(dirty: Dirty, file: File) -> str:
    # Tables are distinguished by how their names begin.
    return f"{file.table}_b{len(dirty.files)}"


def _copy(draw: st.DrawFn, dirty: Dirty) -> None:
    file = dirty.files[_file(draw, dirty)]
    dirty.files.append(file.named(_new_name(dirty, file)))
    dirty.done.append(f"copy {file.name}")


def _reorder(draw: st.DrawFn, dirty: Dirty) -> None:
    at = _file(draw, dirty)
    lines = list(dirty.files[at].lines)
    if dirty.form.layout not in BY_PLACE:
        _put(dirty, at, list(draw(st.permutations(lines))))
    else:
        blocks: list[list[Line]] = []
        for line in lines:
            if not blocks or (line.sale and line.sale != blocks[-1][-1].sale):
                blocks.append([])
            blocks[-1].append(line)
        _put(dirty, at, [line for block in draw(st.permutations(blocks)) for line in block])
        if dirty.form.format == "jsonl" and any(line.is_malformed for line in lines):
            # Nobody can tell to which sale such a line belonged, so the one now above may be held back.
            dirty.right.unsure |= {line.sale for line in lines}
    dirty.done.append(f"reorder {dirty.files[at].name}")


def _insert(draw: st.DrawFn, dirty: Dirty, kind: str) -> None:
    at = _file(draw, dirty)
    lines = list(dirty.files[at].lines)
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.integers(0, len(lines)))
        above = lines[place - 1].sale if place else ""
        lines.insert(place, Line({}, kind=kind, sale=above if dirty.form.layout in BY_PLACE else ""))
    _put(dirty, at, lines)
    dirty.done.append(f"{kind} rows in {dirty.files[at].name}")


def _blank(draw: st.DrawFn, dirty: Dirty) -> None:
    _insert(draw, dirty, draw(st.sampled_from(["blank", "empty"])))


def _repeat_header(draw: st.DrawFn, dirty: Dirty) -> None:
    if dirty.form.is_csv:
        _insert(draw, dirty, "header")


def _split_at(dirty: Dirty, at: int, place: int) -> None:
    file = dirty.files[at]
    dirty.files[at] = replace(file, lines=file.lines[:place])
    dirty.files.append(replace(file, lines=file.lines[place:], name=_new_name(dirty, file)))
    dirty.done.append(f"split {file.name} before row {place + 1}")


def _split_between_sales(draw: st.DrawFn, dirty: Dirty) -> None:
    at = _file(draw, dirty)
    lines = dirty.files[at].lines
    between = [
        place
        for place in range(1, len(lines))
        if not {line.sale for line in lines[:place]} & {line.sale for line in lines[place:]} - {""}
    ]
    if between:
        _split_at(dirty, at, draw(st.sampled_from(between)))


def _split(draw: st.DrawFn, dirty: Dirty) -> None:
    at = _file(draw, dirty)
    lines = dirty.files[at].lines
    place = draw(st.integers(0, len(lines)))
    both = {line.sale for line in lines[:place]} & {line.sale for line in lines[place:]} - {""}
    keys_are_there = dirty.form.layout not in ("carry", "records_by_place")
    dirty.right.unsure |= both
    # Of a sale that other files have as well, the later half counts alone. Without its key, what stands at
    # the start of a file can be no known sale's.
    elsewhere = {line.sale for n, other in enumerate(dirty.files) if n != at for line in other.lines}
    dirty.right.free |= both & elsewhere if keys_are_there else both
    _split_at(dirty, at, place)


def _overlap(draw: st.DrawFn, dirty: Dirty) -> None:
    file = dirty.files[_file(draw, dirty)]
    start = draw(st.integers(0, len(file.lines)))
    end = draw(st.integers(start, len(file.lines)))
    slice_ = file.lines[start:end]
    outside = {line.sale for line in (*file.lines[:start], *file.lines[end:])}
    parts = {line.sale for line in slice_} & outside - {""}
    # A later file that shares a line with an earlier one counts, also where it has fewer.
    dirty.right.unsure |= parts
    dirty.right.free |= parts
    dirty.right.rejected -= parts
    dirty.files.append(replace(file, lines=slice_, name=_new_name(dirty, file)))
    dirty.done.append(f"overlap {file.name} rows {start + 1} to {end}")


def _correct(draw: st.DrawFn, dirty: Dirty) -> None:
    form, right = dirty.form, dirty.right
    token = draw(st.sampled_from(sorted(right.sales)))
    old = right.sales[token]
    if "C" in old.items[0].token:
        return
    *kept, last = old.items
    changed = replace(last, token=last.token.replace("Z", "CZ"), price=last.price + Decimal("1.50"))
    payments = list(old.payments)
    payments[0] = replace(payments[0], amount=payments[0].amount + Decimal("1.50") * last.quantity)
    new = replace(old, items=(*kept, changed), payments=tuple(payments))
    number = sorted(right.sales).index(token)
    for table, lines in form.rows(number, new).items():
        dirty.files.append(File(f"{table}_zz{len(dirty.files)}", tuple(lines), table))
    shares = form.item_id == "column" and form.layout not in ("tables", "headers", "nested")
    if token in right.rejected or token in right.unsure or not shares:
        right.unsure.add(token)
        right.rejected.discard(token)
    right.sales[token] = new
    right.replaced |= old.tokens - new.tokens
    dirty.done.append(f"correct {token}")


def _truncate(draw: st.DrawFn, dirty: Dirty) -> None:
    form = dirty.form
    at = _file(draw, dirty)
    file = dirty.files[at]
    if form.format not in ("csv", "jsonl") or not file.lines:
        return
    whole = form.content(file)
    start = len(form.content(replace(file, lines=())))
    cut = draw(st.integers(min(start + 1, len(whole)), len(whole)))
    there = whole[:cut].decode(form.encoding, errors="ignore")
    last = max((n for n, line in enumerate(file.lines) if line.token and line.token in there), default=0)
    gone = {line.sale for line in file.lines[last:]} - {""}
    dirty.right.unsure |= gone
    dirty.right.free |= gone
    dirty.files[at] = replace(file, cut=(cut + 0.5) / len(whole))
    dirty.done.append(f"truncate {file.name} at byte {cut} of {len(whole)}")


def _row(draw: st.DrawFn, dirty: Dirty) -> tuple[int, int] | None:
    at = _file(draw, dirty)
    good = [n for n, line in enumerate(dirty.files[at].lines) if line.kind == "good"]
    return (at, draw(st.sampled_from(good))) if good else None


def _malform(draw: st.DrawFn, dirty: Dirty) -> None:
    form, chosen = dirty.form, _row(draw, dirty)
    if form.format == "parquet" or not chosen:
        return
    at, n = chosen
    lines = list(dirty.files[at].lines)
    # A record with broken quotes ends with its physical line, so that a line break in it makes two.
    breaks = any("\n" in cell for cell in lines[n].cells.values())
    kinds = [kind for kind in MALFORMED if not (breaks and kind == "quotes")]
    line = lines[n] = replace(lines[n], kind=draw(st.sampled_from(kinds)))
    _put(dirty, at, lines)
    dirty.done.append(f"malform row {n + 1} of {dirty.files[at].name}")
    dirty.right.rejected.add(line.sale)
    if form.format == "jsonl":
        dirty.right.rejected.discard(line.sale)
        dirty.right.unsure.add(line.sale)
        if form.layout in BY_PLACE:
            above = [each.sale for each in lines[:n] if each.sale]
            dirty.right.unsure |= set(above[-1:])
        if form.layout not in ("carry", "records_by_place"):
            dirty.right.free.add(line.sale)


def _spoil(draw: st.DrawFn, dirty: Dirty) -> None:
    chosen = _row(draw, dirty)
    if not chosen or (dirty.form.typed and not dirty.form.is_csv):
        return
    at, n = chosen
    lines = list(dirty.files[at].lines)
    columns = sorted(name for name in BAD_CELLS if lines[n].cells.get(name))
    if dirty.form.total == "sum":
        columns = [name for name in columns if name != "Total"]
    if not columns:
        return
    name = draw(st.sampled_from(columns))
    lines[n] = replace(lines[n], kind="bad_cell", cells=lines[n].cells | {name: BAD_CELLS[name]})
    _put(dirty, at, lines)
    dirty.right.rejected.add(lines[n].sale)
    dirty.done.append(f"spoil {name} in row {n + 1} of {dirty.files[at].name}")


def _double_row(draw: st.DrawFn, dirty: Dirty) -> None:
    chosen = _row(draw, dirty)
    if not chosen:
        return
    at, n = chosen
    lines = list(dirty.files[at].lines)
    lines.insert(n + 1, lines[n])
    _put(dirty, at, lines)
    if dirty.form.duplicates == "keep":
        dirty.right.unsure.add(lines[n].sale)
        dirty.right.free.add(lines[n].sale)
    dirty.done.append(f"double row {n + 1} of {dirty.files[at].name}")


_OPERATIONS = {
    "copy": _copy,
    "reorder": _reorder,
    "blank": _blank,
    "repeat_header": _repeat_header,
    "split_between_sales": _split_between_sales,
    "split": _split,
    "overlap": _overlap,
    "correct": _correct,
    "truncate": _truncate,
    "malform": _malform,
    "spoil": _spoil,
    "double_row": _double_row,
}
