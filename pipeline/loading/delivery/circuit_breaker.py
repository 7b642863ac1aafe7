"""Stopping a load that is refused as a whole: then it is the address, the token's rights or the mapping."""

from __future__ import annotations

from typing import Final, Literal, Self

from pipeline.core.errors import StoppedByApi
from pipeline.core.text.wording import count
from pipeline.loading.http.answers import Meaning, ReplyVerdict

FIRST: Final = 50
"""Transactions at the start of a load that may all be refused."""
IN_A_ROW: Final = 200
"""Transactions later on that may be refused one after the other."""


class CircuitBreaker:
    """Counts transactions that got no yes, one after the other, over a whole load.

    Once open it stays so: nothing more is let through, whatever those in flight are answered.

    Args:
        first: How many may be refused at the start; None for any number.
        in_a_row: How many may be refused in a row later.

    Attributes:
        is_open: Whether nothing more is to be sent.
        is_undecided: Whether no transaction has got another answer yet, so that the refusals may be due to
            the connection or the mapping.
    """

    def __init__(self, first: int | None = FIRST, in_a_row: int = IN_A_ROW) -> None:
        self._first = first
        self._in_a_row = in_a_row
        self._count = 0
        self._which = self._last = ""
        self.is_open = False
        self.is_undecided = first is not None

    @classmethod
    def of(cls, most: int | Literal["off"]) -> Self:
        """One for so many in a row, at the start as well as later; `off` for any number."""
        return cls(None) if most == "off" else cls(most, most)

    def accepted(self) -> None:
        """A transaction was taken, or is there."""
        self._count = 0
        self.is_undecided = False

    def denied(self, verdict: ReplyVerdict, number: int = 1) -> None:
        """So many transactions were refused, or answered with nothing that the API documents."""
        self._count += number
        if self.is_open or self._first is None:
            return
        if self._count >= (self._first if self.is_undecided else self._in_a_row):
            self.is_open = True
            which = "first" if self.is_undecided else "last"
            self._which = f"The {which} {count(self._count, 'transaction', 'was')}"
            messages = (f"{name}: {each[0]}" for name, each in verdict.fields.items())
            self._last = f"{verdict.status} {verdict.message or ', '.join(messages)}".strip()

    def error(self) -> StoppedByApi:
        """Why nothing more is sent."""
        return StoppedByApi(
            f"{self._which} refused, or answered with nothing that Omneo's API "
            f"documents (last: {self._last[:300]}). It is the address, the token's rights or the mapping.",
            hint="Check OMNEO_TENANT or OMNEO_BASE_URL, the token and the mapping. `load` goes on, `retry` "
            "sends what was refused; --max-refused off sends on whatever is answered.",
        )


def is_denial(verdict: ReplyVerdict) -> bool:
    """Whether an answer counts against the load as a whole."""
    return verdict.meaning in (Meaning.REFUSED, Meaning.UNCLEAR)
