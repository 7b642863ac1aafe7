"""Findings of the stages that the report shows: root causes, anomalies and control totals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeVar

from pipeline.core.codes import Fixer

_Number = TypeVar("_Number", int, Decimal)


@dataclass(frozen=True)
class Occurrence:
    """One place where a root cause occurs.

    Attributes:
        value: The cell; None where it is blank, or where the cause is not about a cell.
        message: The problem, in a sentence.
        source: The name of the file.
        line: The line in it.
    """

    value: str | None
    message: str
    source: str
    line: int


@dataclass(frozen=True)
class RootCause:
    """One thing to fix, or to know, however many transactions have it.

    Attributes:
        outcome: `dropped`, `rejected` or `warning`.
        code: The code of the reasons.
        title: The code's name for people who do not code.
        field: Omneo's field; None where the cause is not about one.
        shape: What the cells have in common (or their value, where that says more); None where they have
            nothing in common or the code is not about a cell.
        transactions: How many transactions have this cause.
        fix: What to do about it.
        examples: The first occurrences by file and line, with different cells where there are any.
    """

    outcome: str
    code: str
    title: str
    field: str | None
    shape: str | None
    transactions: int
    fix: str
    examples: Sequence[Occurrence] = ()


@dataclass(frozen=True)
class Anomaly:
    """A statistical warning: not wrong in itself, but often the sign of a mistake.

    Attributes:
        code: Stable name, such as `sales_at_night`.
        title: Its name for people who do not code.
        message: What was seen and what it may mean, in a sentence or two.
        evidence: Numbers, stores or days that show it; never a customer's id.
    """

    code: str
    title: str
    message: str
    evidence: Sequence[str] = ()


@dataclass(frozen=True)
class AnomalyKind:
    """One kind of anomaly that is looked for.

    Attributes:
        title: Its name for people who do not code.
        fixer: Who can say whether it is right.
    """

    title: str
    fixer: Fixer = Fixer.YOU


ANOMALY_KINDS: Final[Mapping[str, AnomalyKind]] = {
    "sales_at_night": AnomalyKind("Many sales at night"),
    "store_clock_shifted": AnomalyKind("A store whose clock is shifted"),
    "dates_at_midnight": AnomalyKind("Sales at exactly midnight", Fixer.TILL),
    "day_month_swapped": AnomalyKind("Only the first twelve days of each month"),
    "days_without_sales": AnomalyKind("Days without sales", Fixer.TILL),
    "doubled_file": AnomalyKind("Sales that are there twice", Fixer.TILL),
    "total_without_tax": AnomalyKind("Totals without tax"),
    "items_without_tax": AnomalyKind("Item prices without tax"),
    "totals_out_of_range": AnomalyKind("Totals far outside the usual"),
    "location_unusual": AnomalyKind("Stores that may be typos"),
    "currency_mix": AnomalyKind("Several currencies in one store"),
    "frequent_customer": AnomalyKind("One customer with very many sales"),
}
"""By code."""


def anomaly(code: str, message: str, evidence: Sequence[str] = ()) -> Anomaly:
    """An anomaly with the title of its kind."""
    return Anomaly(code, ANOMALY_KINDS[code].title, message, evidence)


@dataclass(frozen=True)
class Sums:
    """A number of transactions and the sum of their totals; None where it is not known."""

    transactions: int | None = None
    total: Decimal | None = None


_NOTHING: Final = Sums(0, Decimal())


@dataclass(frozen=True)
class ControlRow:
    """One line of the control totals beside what the run found.

    Attributes:
        key: What the line is about, by dimension, such as `{"store": "S01", "day": "2024-07-01"}`. An empty
            text stands for transactions without a day, store or currency.
        expected: As the source system printed it; zero for a key that was found but not printed.
        read: Over all outcomes; read = staged + dropped + rejected.
        staged: What would be sent.
        dropped: What was left out on purpose.
        rejected: What cannot be sent; a total that could not be read counts as zero.
    """

    key: Mapping[str, str]
    expected: Sums
    read: Sums
    staged: Sums
    dropped: Sums = _NOTHING
    rejected: Sums = _NOTHING

    @property
    def difference(self) -> Sums:
        """What was read less what was expected; None where nothing was expected."""
        return Sums(
            _less(self.read.transactions, self.expected.transactions),
            _less(self.read.total, self.expected.total),
        )

    @property
    def agrees(self) -> bool:
        """Whether nothing that was expected differs."""
        return not self.difference.transactions and not self.difference.total


def _less(one: _Number | None, other: _Number | None) -> _Number | None:
    return None if one is None or other is None else one - other
