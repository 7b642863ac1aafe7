"""The name of a person to forget, and how it is found in texts, columns and bodies."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import polars as pl

from pipeline.core.errors import SettingsError
from pipeline.core.model import ITEM_FIELDS, TRANSACTION_FIELDS, Kind, Names

FORGOTTEN: Final = "[forgotten]"
_NUMBERS: Final = (Kind.DECIMAL, Kind.INTEGER, Kind.DATETIME)
NOT_OF_PEOPLE: Final = frozenset({"product_id", "barcode", "price", "amount"}) | {
    field.name
    for field in (*TRANSACTION_FIELDS.values(), *ITEM_FIELDS.values())
    if field.kind in _NUMBERS or field.names in (Names.THING, Names.STAFF)
}
"""Keys of a body that name a sale, an item, a place or a product, or hold numbers. A card's number may be
there by chance, in the sale of another person. Lists and objects are searched whatever their key."""
LEAST_CHARACTERS: Final = 6
"""Of a card or an id; a shorter one would be found in too many other numbers."""


@dataclass(frozen=True)
class PersonName:
    """A name of a person: an email, the number of a card, an id. Letter case does not matter.

    Attributes:
        name: As Omneo or the source has it.

    Raises:
        SettingsError: It is too short: it would also be found within other numbers.
    """

    name: str

    def __post_init__(self) -> None:
        if len(self.name) < LEAST_CHARACTERS and "@" not in self.name:
            raise SettingsError(
                f"{self.name!r} is too short: it would also be found within other numbers.",
                hint=f"Give an email, or a card or an id of at least {LEAST_CHARACTERS} characters.",
            )

    @cached_property
    def pattern(self) -> str:
        """The name on its own: `ann@x.com` is neither in `joann@x.com` nor in `ann@x.com.au`."""
        # Without look-around, which polars' regular expressions do not have.
        return rf"(?i)(?:^|[^\w.+-])(?:{'|'.join(self._written)})(?:$|[^\w.-]|\.(?:$|\W))"

    @cached_property
    def _written(self) -> list[str]:
        """The name as it is written in texts and in JSON."""
        forms = {self.name, json.dumps(self.name)[1:-1], json.dumps(self.name, ensure_ascii=False)[1:-1]}
        return sorted(map(re.escape, forms))

    def is_in(self, text: str | None) -> bool:
        """Whether the name is in a text."""
        return text is not None and re.search(self.pattern, text) is not None

    def within(self, *columns: str) -> pl.Expr:
        """Whether the name is in any of these columns, or in any text column where none is given."""
        texts = pl.col(columns) if columns else pl.col(pl.String)
        return pl.any_horizontal(texts.str.contains(self.pattern).fill_null(value=False))

    def within_body(self) -> pl.Expr:
        """Whether the name is in a body, but not as the id of a sale, an item, a place or a product."""
        # The second test is slow, and most bodies fail the first.
        return self.within("body") & without_values_of(pl.col("body"), NOT_OF_PEOPLE).str.contains(
            self.pattern
        )

    def removed_from(self, text: str) -> str:
        """The text without the name."""
        return re.sub("|".join(self._written), FORGOTTEN, text, flags=re.IGNORECASE)


def without_values_of(text: pl.Expr, keys: Collection[str]) -> pl.Expr:
    """JSON without the texts and numbers under these keys; other text is not changed."""
    if not keys:
        return text
    names = "|".join(sorted({re.escape(json.dumps(key, ensure_ascii=False)) for key in keys}))
    return text.str.replace_all(rf'(?:{names}):\s*(?:"(?:[^"\\]|\\.)*"|-?[0-9.eE+-]+)', "")
