"""Which columns identify a sale: by their names, by how they repeat, and by what is alike where they do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from pipeline.core.text.wording import agree, count, part
from pipeline.mapping.scaffold.vocabulary.cells import is_numeric, plain, share, values
from pipeline.mapping.scaffold.vocabulary.role_fit import choose_columns, fit, ranked
from pipeline.mapping.scaffold.vocabulary.roles import ROLES

_AGREEING: Final = 0.97
"""The share of the sales of several rows whose rows must have one date."""
_UNIQUE: Final = 0.995
_DEFECTS: Final = 0.02
_TOGETHER: Final = 0.1
"""The share of rows that have to stand in groups for these to be sales."""
_USUAL: Final = 8
"""More rows than that have one number on average where that is of something larger than a sale."""
_SOME: Final = 3
"""In fewer sales it may be an accident that rows are alike."""
GENERIC_NAMES: Final = ("name", "id", "no", "number", "nr", "num", "numero", "nota", "order", "check", "bill")
"""Names that say no more than that it is a number."""
GROUP: Final = "__sale"
"""A column with the number of the sale that a row belongs to, from 0 in the order of the file."""
NTH: Final = "nth"
"""A column that numbers equal rows, which are different sales where no column numbers the sales."""


@dataclass(frozen=True)
class Key:
    """The columns that identify a sale.

    Attributes:
        columns: Their names.
        carried: Whether a blank key means that of the row above.
        why: What speaks for it.
        doubt: What speaks against it; then the draft leaves the id open.
        amount: The one of the columns that is an amount, where rows have no number.
        guessed: Whether no column numbers the sales, so that later files may have two of one key.
    """

    columns: tuple[str, ...]
    carried: bool = False
    why: str = ""
    doubt: str = ""
    amount: str = ""
    guessed: bool = False


def keys_of(rows: pl.DataFrame, dates: Sequence[str], parts: Sequence[str]) -> list[Key]:
    """Keys that are possible, the likeliest first.

    Args:
        rows: The rows of a file; all columns that are looked at are text.
        dates: Its columns with dates, the likeliest for the sale first.
        parts: Further columns within which numbers may start again: stores and registers.
    """
    names = ranked(rows, "key")
    found = [key for name in names if (key := _complete(rows, name, dates, parts))]
    whole = [key for key in found if fit(key.columns[-1], "key") > 2]
    finer = [key for key in whole if not _repeats(rows, key)]
    sure = [key for key in found if key not in finer and not key.doubt]
    coarser = [key for key in sure if key in whole or _is_alike_throughout(rows, key, dates)]
    # A number of each line and one of each sale: the latter repeats.
    lines = choose_columns(rows, ["quantity", "price", "name", "sku"])
    swapped = lines and coarser and finer and whole[0] is finer[0]
    order = _sales_before_lines(rows, coarser, finer) if swapped else whole
    first = {key.columns for key in order}
    best = [*order, *(key for key in found if key.columns not in first)]
    # A number that every row has comes before one that rows leave blank.
    best.sort(key=lambda key: key.carried and any(not other.carried and not other.doubt for other in whole))
    best = [_doubted(rows, key, dates) for key in best]
    return sorted(best, key=lambda key: bool(key.doubt)) or [Key((rows.columns[0],), doubt=_NONE)]


def _sales_before_lines(rows: pl.DataFrame, coarser: Sequence[Key], finer: Sequence[Key]) -> list[Key]:
    """The numbers of sales before those of lines; doubtful where two of them group the rows differently."""
    first = max(coarser, key=lambda key: _groups(rows, key.columns))
    every = dict.fromkeys(name for key in coarser for name in key.columns)
    if _groups(rows, [*every]) == _groups(rows, first.columns):
        return [first, *(key for key in coarser if key is not first), *finer]
    named = " or ".join(f"`{key.columns[-1]}`" for key in coarser)
    doubt = f"whether {named} numbers the sales and `{finer[0].columns[-1]}` their lines"
    return [replace(key, doubt=doubt) for key in (*finer, *coarser)]


def _groups(rows: pl.DataFrame, columns: Sequence[str]) -> int:
    return int(rows.select(pl.struct(columns).n_unique()).item())


def _is_alike_throughout(rows: pl.DataFrame, key: Key, dates: Sequence[str]) -> bool:
    """Whether rows with the same number are also of one time, customer and payment, as in a sale."""
    clocks = [date for date in dates if _has_clock(rows[date])]
    of_sale = choose_columns(rows.drop(key.columns), ["customer", "email", "phone", "card", "tender"])
    same = [*dict.fromkeys([*clocks, *of_sale.values()])]
    if not same or _groups(rows, key.columns) < rows.height / _USUAL:
        return False
    each = grouped(rows, key).group_by(GROUP).agg(pl.len(), pl.col(same).n_unique())
    several = each.filter(pl.col("len") > 1)
    return several.height >= _SOME and bool((several.select(pl.max_horizontal(same)).to_series() == 1).all())


def _doubted(rows: pl.DataFrame, key: Key, dates: Sequence[str]) -> Key:
    """The key, with a doubt where it may number lines: another column groups rows of the very same time."""
    name, clock = key.columns[-1], next((date for date in dates if _has_clock(rows[date])), None)
    if key.doubt or plain(name) not in GENERIC_NAMES or clock is None or _repeats(rows, key):
        return key
    for other in rows.columns:
        if other in (name, *dates) or rows.schema[other] != pl.String or _has_another_role(other):
            continue
        groups = rows.drop_nulls(other).group_by(other).agg(pl.len(), pl.col(clock).n_unique().alias("times"))
        several = groups.filter(pl.col("len") > 1)
        together = int(several["len"].sum()) > rows.height * _TOGETHER
        if together and groups.height > rows.height * 0.2 and (several["times"] == 1).mean() == 1:
            return replace(key, doubt=f"whether `{other}` numbers the sales and `{name}` their lines")
    return key


def _has_clock(cells: pl.Series) -> bool:
    return share(values(cells.head(100)), r"\d:\d{2}") > 0.9


def _has_another_role(name: str) -> bool:
    return any(fit(name, role) > 1 for role in ROLES if role != "key")


_NONE: Final = "no column's name and content say that it is the sale's number"


def _repeats(rows: pl.DataFrame, key: Key) -> bool:
    return int(rows.select(pl.struct(key.columns).n_unique()).item()) < rows.height * _UNIQUE


def _complete(rows: pl.DataFrame, name: str, dates: Sequence[str], parts: Sequence[str]) -> Key | None:
    """The key around one column, with what else it needs."""
    filled = values(rows[name])
    blank = 1 - filled.len() / rows.height
    carried = blank > 0.02 and rows.height > filled.len() and values(rows[name].head(1)).len() == 1
    carried = carried and not _stand_alone(rows, name, dates)
    if blank > 0.1 and not carried:
        return None
    if is_numeric(filled) and share(filled, r"[.,]\d{2}$") > 0.5:
        return None
    distinct = filled.n_unique()
    if distinct < 2 and rows.height > 2:
        return None
    key = Key((name,), carried)
    if fit(name, "key") < 2 and (rows.height > 20 and distinct < rows.height / 50):
        return None
    # A blank number that is that of the row above needs nothing beside it.
    for more in [()] if carried else _additions(name, dates, parts):
        tried = replace(key, columns=(*more, name))
        said = _alike(rows, tried, dates)
        if said is not None:
            return replace(tried, why=_said(rows, said, dates))
    return replace(key, doubt=f"rows with the same `{name}` have different dates")


def _stand_alone(rows: pl.DataFrame, name: str, dates: Sequence[str]) -> bool:
    """Whether rows without a number have times of their own, so that they are no lines of the row above."""
    clock = next((date for date in dates if _has_clock(rows[date])), None)
    if clock is None or name in dates:
        return False
    blank = rows[name].str.strip_chars().replace("", None).is_null()
    below = rows.filter(blank & rows[clock].is_not_null())
    own = below.filter(~pl.col(clock).is_in(rows.filter(~blank)[clock].implode()))
    return own.height * 2 > blank.sum()


def _additions(name: str, dates: Sequence[str], parts: Sequence[str]) -> Iterator[tuple[str, ...]]:
    free = [part for part in parts if part != name]
    yield ()
    yield from ((part,) for part in free)
    if len(free) > 1:
        yield tuple(free)
    day = [date for date in dates[:1] if date != name]
    yield from ((date,) for date in day)
    yield from ((date, part) for date in day for part in free)


def grouped(rows: pl.DataFrame, key: Key) -> pl.DataFrame:
    """The rows with a whole key, blank ones filled from above where it is carried, with GROUP."""
    columns = [*key.columns]
    cells = rows.with_columns(pl.col(columns).str.strip_chars().replace("", None))
    if key.carried:
        cells = cells.with_columns(pl.col(columns).forward_fill())
    cells = cells.drop_nulls(columns)
    joined = cells.select(pl.concat_str(columns, separator="\x1f").alias("key"))
    order = joined.unique(maintain_order=True).with_row_index(GROUP)
    at = joined.join(order, on="key", how="left", maintain_order="left")[GROUP]
    return cells.with_columns(at.cast(pl.Int64))


def _alike(rows: pl.DataFrame, key: Key, dates: Sequence[str]) -> tuple[int, int] | None:
    """How many sales of several rows have one day, and how many there are; None where too few have."""
    cells = grouped(rows, key)
    # Where a date is part of the key its rows agree anyway; other columns then have to.
    date = next((name for name in dates if name not in key.columns), None)
    day = (
        day_texts(cells, date)
        if date
        else pl.Series("day", [None], pl.String).new_from_index(0, cells.height)
    )
    each = pl.DataFrame({GROUP: cells[GROUP], "day": day}).group_by(GROUP)
    counted = each.agg(pl.len(), pl.col("day").drop_nulls().n_unique().alias("days")).filter(
        pl.col("len") > 1
    )
    with_day = any(name in key.columns for name in dates)
    if with_day and not _starts_again(cells, key):
        return None
    if counted.is_empty():
        return 0, 0
    alike = int((counted["days"] <= 1).sum())
    # Where hardly a number is there twice, those that are have defects, which a run will name.
    # Where none of them agree, these are numbers that were given twice.
    are_defects = counted.height <= cells[GROUP].n_unique() * _DEFECTS and (alike > 0 or counted.height < 3)
    # A blank number below another day is none of that day's.
    few = not key.carried and (counted.height - alike <= 1 or are_defects)
    if alike < counted.height * _AGREEING and not few:
        return None
    return alike, counted.height


def day_texts(rows: pl.DataFrame, date: str) -> pl.Series:
    """The day's text of a date: what stands before its time."""
    return (
        rows[date]
        .str.strip_chars()
        .replace("", None)
        .str.extract(r"^(.*?)(?:[T ,]+\d{1,2}[:.]\d{2}.*)?$")
        .alias("day")
    )


def _starts_again(cells: pl.DataFrame, key: Key) -> bool:
    """Whether a number counts within the day, and the rows of a sale stand together."""
    name = key.columns[-1]
    form = r"^\d{1,6}$" if plain(name) in GENERIC_NAMES else r"\d"
    if share(values(cells[name]), form) < _AGREEING:
        return False
    group = cells[GROUP]
    runs = (group != group.shift()).sum() + 1
    return runs <= group.n_unique() * 1.05 + 1


def _said(rows: pl.DataFrame, said: tuple[int, int], dates: Sequence[str]) -> str:
    alike, several = said
    if not several:
        return f"no value repeats in {count(rows.height, 'row')}"
    if not dates:
        return f"{several} of its values {agree(several, 'repeats')}"
    return f"{part(alike, several, 'sale')} of several rows {agree(alike, 'has')} one day"
