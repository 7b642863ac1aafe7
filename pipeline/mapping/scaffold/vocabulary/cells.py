"""What the cells of one column look like."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.mapping.functions.cell_cleaning import trimmed
from pipeline.mapping.functions.numbers import decimals
from pipeline.mapping.language.value_spec import Number
from pipeline.mapping.scaffold.vocabulary.east_asian import in_english

EMAIL: Final = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"
MOSTLY: Final = 0.9
"""The share of cells that has to fit; the others are defects that a run will name."""

_FEW: Final = 3
Floats = npt.NDArray[np.float64]


_CYRILLIC: Final = dict(
    zip(
        "абвгдеёжзийклмнопрстуфхцчшщъыьэюя",
        "a b v g d e e zh z i i k l m n o p r s t u f h c ch sh sh _ y _ e yu ya".replace("_", "").split(" "),
        strict=True,
    )
)
_LETTERS: Final = str.maketrans(
    {"ß": "ss", "ł": "l", "ø": "o", "æ": "ae", "đ": "d", "\u0131": "i", **_CYRILLIC}
)
"""Letters that are no other letter with an accent."""


def plain(name: str) -> str:
    """A name without blanks, signs, accents and upper case."""
    folded = unicodedata.normalize("NFKD", in_english(name).casefold().translate(_LETTERS))
    return "".join(c for c in folded if c.isascii() and c.isalnum())


def words_of(name: str) -> list[str]:
    """The words of a name: split at blanks and signs, and where an upper case letter follows a lower one."""
    bare = in_english(name.split("#")[0] if name.rfind("#") > 0 else name)
    bare = bare.replace("OnLine", "Online").replace("OffLine", "Offline")
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", bare)
    return [word for word in (plain(part) for part in re.split(r"[^\w]+|_", spaced)) if word]


def sql_name(name: str) -> str:
    """A column's name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def values(cells: pl.Series) -> pl.Series:
    """The cells that are not blank, trimmed."""
    return cells.to_frame("cell").select(trimmed(pl.col("cell"), ())).to_series().drop_nulls()


def share(filled: pl.Series, pattern: str) -> float:
    """The share of texts that match a pattern."""
    return share_of(filled.str.contains(pattern))


def share_of(answers: pl.Series) -> float:
    """The share of answers that are true among those that are not null; 0 where there are none."""
    known = answers.drop_nulls()
    return int(known.sum()) / known.len() if known.len() else 0.0


def are_names(filled: pl.Series) -> bool:
    """Whether texts are names of people and no ids: mostly several words, and hardly any digits."""
    different = filled.unique()
    return share(different, r"^[^\d@_]*$") > MOSTLY and share(different, r"\p{L}\S*\s+\S*\p{L}") > MOSTLY / 2


# ── Numbers ─────────────────────────────────────────────────────────────────────────────────────────

_SIGNS = r"[RACS]\$|US\$|HK\$|[$€£¥₹₺₽₩₫฿₦₱₴]|[A-Z]{3}|kr\.?|zł|Rs\.?|Rp\.?|Kč|Ft|lei|TL|R"
NUMBER: Final = (
    rf"^\(?[+-]?\s?(?:{_SIGNS})?\s*[+-]?\d[\d.,'\u00a0\u202f ]*\s?(?:{_SIGNS}|%)?\)?-?$"
    rf"|^\(?[+-]?(?:{_SIGNS})?\.\d+\)?$"
)
_COMMA = rf",\d{{1,2}}\s?(?:{_SIGNS})?\)?-?$|^-?0,\d+$|,\d{{4,}}$"
_POINT = rf"\.\d{{1,2}}\s?(?:{_SIGNS})?\)?-?$|^-?0\.\d+$|\.\d{{4,}}$"
_BLANKS = "\u00a0\u202f '"


def number_form(columns: Iterable[pl.Series]) -> Number:
    """The notation of the amounts in these columns, taken together."""
    filled = pl.concat(
        [values(cells).cast(pl.String).alias("") for cells in columns] or [pl.Series("", [""])]
    )
    amounts = filled.filter(filled.str.contains(NUMBER))
    comma = share(amounts, _COMMA) > share(amounts, _POINT) or _points_are_thousands(amounts)
    signs = amounts.str.extract(rf"({_SIGNS})").drop_nulls().unique().sort()
    marks = ("." if comma else ",") + _BLANKS
    thousands = "".join(m for m in marks if share(amounts, rf"\d{re.escape(m)}\d{{3}}(?:\D|$)"))
    return Number(
        decimal="," if comma else ".",
        thousands=thousands,
        currency=tuple(signs),
        parentheses=share(amounts, r"^\(.*\)$") > 0,
        trailing_minus=share(amounts, r"\d-$") > 0,
    )


def _points_are_thousands(amounts: pl.Series) -> bool:
    """Whether points stand only before three digits, and only in numbers of more than three."""
    pointed = amounts.filter(amounts.str.contains(".", literal=True))
    grouped = r"^\D*[1-9]\d{0,2}(?:\.\d{3})+\D*$"
    return (
        2 < pointed.n_unique() < amounts.n_unique()
        and share(pointed, grouped) == 1
        and share(amounts, ",") == 0
    )


def floats(cells: pl.Series, number: Number) -> Floats:
    """The numbers of a column as the mapping would read them; NaN where a cell is none or is blank."""
    frame = cells.to_frame("cell").select(trimmed(pl.col("cell").cast(pl.String), ()))
    read = frame.select(decimals(pl.col("cell"), number).cast(pl.Float64)).to_series()
    return read.fill_null(np.nan).to_numpy()


def is_numeric(filled: pl.Series, least: float = MOSTLY) -> bool:
    """Whether nearly all texts are numbers; among a few texts one may be damaged."""
    others = int((~filled.str.contains(NUMBER)).sum())
    return filled.len() > 0 and (share(filled, NUMBER) > least or (others == 1 and filled.len() > _FEW))


def is_whole(cells: pl.Series) -> bool:
    """Whether all numbers of a column are whole."""
    return share(values(cells), r"^[+-]?\d+(?:[.,]0+)?$") == 1.0
