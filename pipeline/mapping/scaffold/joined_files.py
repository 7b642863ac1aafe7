"""How files belong together: headers with their lines, and tables in which something is looked up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Final

import polars as pl

from pipeline.core.errors import SourceError
from pipeline.core.text.header_names import usable_name
from pipeline.mapping.language.yaml_text import listed, quoted
from pipeline.mapping.scaffold.keys import GENERIC_NAMES, Key
from pipeline.mapping.scaffold.samples import Sample
from pipeline.mapping.scaffold.shape import Shape, dates_of, has_lines, is_first, one_file
from pipeline.mapping.scaffold.vocabulary.cells import plain, share_of, values, words_of
from pipeline.mapping.scaffold.vocabulary.role_fit import choose_columns, fit, names_another
from pipeline.mapping.scaffold.vocabulary.roles import AMOUNTS, LINE, SALE


def shapes_of(kinds: Sequence[Sample]) -> list[Shape]:
    """How the files may be laid out, the likeliest first.

    Raises:
        SourceError: Files have no column in common.
    """
    sales = [kind for kind in kinds if _looks_like_sales(kind)] or [*kinds[:1]]
    if len(kinds) == 1:
        return one_file(kinds[0])
    joined = _joined_best(sales)
    if joined and (unpriced := _unpriced(kinds, *joined[:2])):
        return [replace(shape, notes=(*shape.notes, unpriced)) for shape in one_file(joined[0])]
    if joined:
        return [_several_files(kinds, joined)]
    dated = [kind for kind in sales if dates_of(kind.cells)] or sales
    main = max(dated, key=lambda kind: len(choose_columns(kind.cells, [*SALE, *AMOUNTS, *LINE])))
    others = [kind for kind in kinds if kind is not main]
    apart = [kind for kind in others if _has_sales_apart(kind, main) and not _is_looked_up(kind, main)]
    if apart:
        raise SourceError(
            f"{main.name} and {apart[0].name} have no column in common, so they cannot be joined.",
            hint="Draft a mapping from one of them, and write the tables yourself.",
        )
    return [_with_lookups(shape, others) for shape in one_file(main)]


def _unpriced(kinds: Sequence[Sample], headers: Sample, items: Sample) -> str:
    """Why lines are left out: headers have totals, and nothing has prices; empty where that is not so."""
    priced = [
        kind for kind in kinds if kind is not headers and choose_columns(kind.cells, ("price", "total"))
    ]
    if priced or not choose_columns(headers.cells, AMOUNTS).keys() & {"total"}:
        return ""
    return f"{items.name} is not used, since its lines have no amounts"


def _has_sales_apart(table: Sample, main: Sample) -> bool:
    """Whether a file has sales or lines of its own, and not only sums, staff or the like."""
    amounts = choose_columns(table.cells, ("quantity", "price", "total")).keys()
    dated = [name for name in dates_of(table.cells) if fit(name, "transacted_at")]
    if dated:
        return bool(amounts)
    priced = choose_columns(main.cells, ("price", "total"))
    return "quantity" in amounts and not priced


def _is_looked_up(table: Sample, main: Sample) -> bool:
    """Whether the rows of a file name rows of another one by its key."""
    both = [name for name in _texts(table) if name in main.cells.columns]
    return any(table.cells[name].n_unique() == table.cells.height for name in both)


def _with_lookups(shape: Shape, others: Sequence[Sample]) -> Shape:
    """Put the columns of look-up tables beside the rows of a single file."""
    if shape.layout not in ("lines", "headers"):
        return replace(shape, notes=tuple(f"{sample.name} is not used" for sample in others))
    lines, lookups, found_in, unused = _looked_up(shape.lines, others)
    headers = lines.filter(pl.Series(is_first(shape.at)))
    notes = (*shape.notes, *(f"{sample.name} is not used; it does not look like sales" for sample in unused))
    if not found_in:
        return replace(shape, notes=notes)
    layout = "lines" if has_lines(lines) else shape.layout
    return replace(
        shape,
        layout=layout,
        lines=lines,
        headers=headers,
        lookups=tuple(lookups),
        found_in=found_in,
        notes=notes,
    )


def likeness(rows: pl.DataFrame) -> int:
    """How much rows look like those of sales: how many roles their columns have."""
    return len(choose_columns(rows, [*SALE, *AMOUNTS, *LINE])) + bool(dates_of(rows))


def _looks_like_sales(kind: Sample) -> bool:
    found = choose_columns(kind.cells, [*SALE, *AMOUNTS, *LINE])
    return len(found) > 1 or (bool(found) and kind.cells.width < 4)


def _several_files(samples: Sequence[Sample], joined: tuple[Sample, Sample, str, str]) -> Shape:
    """Several tables: headers have a date, items a price or quantity, payments an amount paid."""
    headers, items, key, own = joined
    left = [sample for sample in samples if sample not in (headers, items)]
    payments = next((s for s in left if key in s.cells.columns and _has_payments(s, key)), None)
    tables = [("headers", headers, key), ("items", items, own)]
    if payments:
        tables.append(("payments", payments, key))
    lines = [
        f"  {table}: {{inputs: {listed(sample.inputs)}, key: [{quoted(name)}]}}"
        for table, sample, name in tables
    ]
    sales = headers.cells.unique(key, keep="first", maintain_order=True)
    at = sales.select(pl.col(key).str.strip_chars().alias(own)).with_row_index("at")
    rows = items.cells.with_columns(pl.col(own).str.strip_chars())
    rows = rows.filter(~pl.col(own).is_in(rows[own].gather(items.at_edges).implode()))
    found = rows.join(at, on=own, how="inner", maintain_order="left")
    # Of files that were cut, only sales with lines count.
    kept = at.join(found.select(own).unique(), on=own, how="semi", maintain_order="left").drop("at")
    found = found.drop("at").join(kept.with_row_index("at"), on=own, how="inner", maintain_order="left")
    sales = sales.filter(pl.col(key).str.strip_chars().is_in(kept[own].implode()))
    looked_up = [sample for sample in left if sample is not payments]
    frames, lookups, found_in, unused = _looked_up(found.drop("at", own), looked_up, but=sales.columns)
    paid = payments.cells.join(sales.select(key), on=key, how="semi") if payments else None
    return Shape(
        headers,
        "tables",
        Key((key,), why=f"it joins {headers.name} and {items.name}", doubt=_other_dialect(headers, items)),
        headers=sales,
        lines=frames,
        at=found["at"].cast(pl.Int64).to_numpy(),
        payments=paid,
        source=("tables:", *lines),
        lookups=tuple(lookups),
        found_in=found_in,
        tables=tuple((table, sample) for table, sample, _ in tables),
        own_key=own,
        notes=tuple(f"{sample.name} is not used; is it a look-up table?" for sample in unused),
    )


def _other_dialect(one: Sample, other: Sample) -> str:
    """Why two tables cannot be read by one mapping; empty where they can."""
    parts = ("delimiter", "skip_lines", "header")
    if one.format != other.format or all(
        getattr(one.dialect, part) == getattr(other.dialect, part) for part in parts
    ):
        return ""
    return f"{one.name} and {other.name} are not written alike (delimiter, lines above the header)"


def _has_payments(sample: Sample, key: str) -> bool:
    found = choose_columns(sample.cells.drop(key), ("paid", "tender", "total"))
    return "tender" in found and bool(found.keys() & {"paid", "total"})


def _joined_best(samples: Sequence[Sample]) -> tuple[Sample, Sample, str, str] | None:
    """The files of headers and items, and the columns of each that join them; None where there are none."""
    best: tuple[float, tuple[Sample, Sample, str, str]] | None = None
    dated = [sample for sample in samples if dates_of(sample.cells)]
    for headers in dated or samples:
        rows = headers.cells.unique()  # Copies of rows are left out by a run.
        unique = [
            name
            for name in _texts(headers)
            if fit(name, "key") and not names_another(name) and rows[name].n_unique() > rows.height * _UNIQUE
        ]
        for items in (sample for sample in samples if sample is not headers):
            found = choose_columns(items.cells, [*LINE, *AMOUNTS]).keys()
            for name, own in product(unique, _texts(items)):
                score = _join_score(headers.cells[name], items.cells[own])
                named = [sample for sample in samples if _names_rows_of(own, sample)]
                if not score or not found or (plain(name) == "id" and named and headers not in named):
                    continue
                score += 2 * (headers in named)
                score += name == headers.cells.columns[0]
                score += 2 * ("quantity" in found) + bool(found & {"price", "total"}) + fit(name, "key")
                score -= bool(choose_columns(headers.cells, ["quantity"]))
                if best is None or score > best[0]:
                    best = score, (headers, items, name, own)
    return best[1] if best else None


_UNIQUE: Final = 0.98
"""The share of rows that have a number of their own where it is that of a sale."""


def _texts(sample: Sample) -> list[str]:
    return [name for name, dtype in sample.cells.schema.items() if dtype == pl.String]


def _names_rows_of(name: str, sample: Sample) -> bool:
    """Whether a column is named after the ids of a file's rows: `order_id` after those of `orders.csv`."""
    thing, file = plain(name).removesuffix("id"), plain(sample.name.split(".")[0])
    return plain(name) != thing != "" and file.endswith((thing, f"{thing}s", f"{thing}es"))


def _join_score(one: pl.Series, many: pl.Series) -> float:
    """How well a column refers to another: by its name, and by how many of its values are there."""
    same = plain(one.name) == plain(many.name)
    alike = plain(many.name).endswith("id") and plain(one.name) in ("id", plain(many.name))
    alike = alike or _ends_alike(one.name, many.name)
    if not (same or alike or min(fit(one.name, "key"), fit(many.name, "key")) > 2):
        return 0
    own = values(many)
    if same and plain(many.name) in GENERIC_NAMES and own.n_unique() == own.len():
        return 0  # Each table numbers its own rows.
    known = values(one).unique()
    inside = share_of(own.is_in(known.implode()))
    return (1 + inside if same else inside) if inside > (0.05 if same else 0.9) else 0


def _ends_alike(one: str, other: str) -> bool:
    """Whether one name is the end of the other one: `item_id` of `menu_item_id`."""
    short, long = sorted((words_of(one), words_of(other)), key=len)
    return 1 < len(short) < len(long) and long[-len(short) :] == short


def _refers(lines: pl.DataFrame, table: Sample, but: Sequence[str]) -> tuple[str, str] | None:
    """The column with the ids of a table's rows and that of lines that names them in other words.

    The table itself may call them only `id`, or its name is longer or shorter: `item_id` and `menu_item_id`.
    """
    keys = [n for n in _texts(table) if table.cells[n].n_unique() == table.cells.height]
    texts = [n for n, dtype in lines.schema.items() if dtype == pl.String and n not in but]
    for key, own in product((n for n in keys if plain(n) == "id"), texts):
        if _names_rows_of(own, table) and _join_score(table.cells[key], lines[own]):
            return key, own
    for key, own in product(keys, texts):
        alike = plain(key) == plain(own) or _ends_alike(key, own)
        if alike and key not in but and plain(key) not in GENERIC_NAMES:
            repeated = lines[own].n_unique() < values(lines[own]).len()
            if repeated and _join_score(table.cells[key], lines[own]) > _UNIQUE:
                return key, own
    return None


def _looked_up(
    lines: pl.DataFrame, tables: Sequence[Sample], but: Sequence[str] = ()
) -> tuple[pl.DataFrame, list[str], dict[str, str], list[Sample]]:
    """Put the columns of look-up tables beside the lines that refer to them, one table after the other."""
    lookups: list[str] = []
    found_in: dict[str, str] = {}
    unused = [*tables]
    for _ in tables:
        for table in (each for each in [*unused] if each.format != "xlsx"):  # no look-up tables
            keys = [n for n in _texts(table) if table.cells[n].n_unique() == table.cells.height]
            near = [n for n in keys if n in lines.columns and n not in but]
            key = next((n for n in near if _join_score(table.cells[n], lines[n]) > 1.9), None)
            refers = (key, key) if key else _refers(lines, table, but)
            if refers is None:
                continue
            key, own = refers
            # Some exports have the columns of a look-up table, blank, to be filled in by a formula.
            blank = [n for n in _texts(table) if n in lines.columns and values(lines[n]).is_empty()]
            lines = lines.drop(blank)
            new = [name for name in _texts(table) if name not in lines.columns and name != key]
            name = usable_name(plain(table.name.split(".")[0])) or "table"
            encoding = table.dialect.encoding
            csv = f", csv: {{encoding: {encoding}}}" if encoding != "utf-8" else ""
            lookups.append(
                f"  {name}: {{file: {quoted(table.inputs[0])}, key: [{quoted(key)}], from: source{csv}}}"
            )
            by = found_in.get(own, quoted(own))
            for each in new:
                found_in[each] = f"{{lookup: {name}, key: {by}, value: {quoted(each)}}}"
            rows = table.cells.select(pl.col(key).alias(own), *new)
            lines = lines.join(rows, on=own, how="left", maintain_order="left")
            unused.remove(table)
    return lines, lookups, found_in, unused
