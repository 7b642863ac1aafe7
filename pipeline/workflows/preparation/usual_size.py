"""Whether a run is much smaller than the last runs of its mapping on the same weekday."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from statistics import median
from typing import Final

import polars as pl

from pipeline.core.errors import RunError
from pipeline.core.settings import HISTORIC_AFTER
from pipeline.core.text.wording import count
from pipeline.report.aggregates import ACCEPTED, Facts
from pipeline.report.summary import Summary
from pipeline.staging.manifest import Manifest, is_same_mapping, read_manifest
from pipeline.staging.workdir import RunDir
from pipeline.workflows.runs import run_record

WEEKDAYS: Final = 4
"""Earlier days that are looked at: a month, in which a public holiday does not move the median."""


USUAL_SHARE: Final = Decimal("0.5")
"""Below this share of the usual there is a warning, where no share is given."""


@dataclass(frozen=True)
class Size:
    """How much was accepted.

    Attributes:
        transactions: How many.
        worth: The sum of their totals by currency; an empty text where there is only one.
    """

    transactions: int
    worth: Mapping[str, Decimal]


def size_of(summary: Mapping[str, object] | Summary) -> Size:
    """The size of a run, from its summary or from what its manifest keeps of it."""
    values = summary.as_dict() if isinstance(summary, Summary) else summary
    transactions, totals = values["transactions"], values["totals"]
    assert isinstance(transactions, Mapping)
    assert isinstance(totals, Mapping)
    accepted = totals["accepted"]
    by_currency = accepted if isinstance(accepted, Mapping) else {"": accepted}
    return Size(transactions["accepted"], {name: Decimal(str(sum_)) for name, sum_ in by_currency.items()})


def usual_sizes(runs: Sequence[RunDir], now: Manifest, facts: Facts) -> list[Size]:
    """The sizes of the last runs of a mapping on the weekday of a day before, one a day, newest first.

    A load of history is no night, and no night is compared with one.

    Args:
        runs: The other runs that are there, oldest first. One that cannot be read, or whose gate is closed,
            is left out; of several on a day the largest counts, since the others are repeats.
        now: The new run.
        facts: Of the new run.
    """
    today, wanted = _day(now), is_history(facts, _day(now))
    by_day: dict[date, Size] = {}
    for run in reversed(runs):
        with suppress(RunError, OSError, KeyError):
            manifest = read_manifest(run)
            day = _day(manifest)
            if day >= today or day.weekday() != today.weekday():
                continue
            if len(by_day) == WEEKDAYS and day not in by_day:
                break
            gate = run_record.read(run).gate
            is_open = gate is None or not gate.closed
            if (
                is_open
                and is_same_mapping(manifest.mapping, now.mapping)
                and is_history(run_record.read_facts(run), day) == wanted
            ):
                size = size_of(manifest.summary)
                by_day[day] = max(by_day.get(day, size), size, key=lambda each: each.transactions)
    return [by_day[day] for day in sorted(by_day, reverse=True)]


def is_history(facts: Facts, day: date) -> bool:
    """Whether most transactions accepted on a day are older than a late sale may be."""
    accepted = facts.days.filter(pl.col("outcome") == ACCEPTED)
    old = accepted.filter(pl.col("day") < (day - HISTORIC_AFTER).isoformat())
    return bool(2 * int(old["transactions"].sum()) > int(accepted["transactions"].sum()))


def _day(manifest: Manifest) -> date:
    """The day on which a run was prepared, where this machine is."""
    return datetime.fromisoformat(manifest.created_at).astimezone().date()


def shortfall(size: Size, usual: Sequence[Size], least: Decimal) -> str:
    """Why a run is too small, a sentence without its full stop; empty where it is not.

    Args:
        size: Of the run.
        usual: Of the runs to compare it with; without any it is never too small.
        least: The least share of their median, 0 to 1.
    """
    if not usual:
        return ""
    days = f"the median of the last {count(len(usual), 'same weekday')}"
    expected = median(each.transactions for each in usual)
    if size.transactions < least * Decimal(expected):
        return (
            f"Only {count(size.transactions, 'accepted transaction')}, which is less than {least:.0%} of "
            f"{days}, {expected:,.0f}"
        )
    if any(("" in each.worth) != ("" in size.worth) for each in usual):
        return ""  # one currency on some days and several on others: there is no one sum to compare
    for currency in sorted({name for each in usual for name in each.worth}):
        worth = median(each.worth.get(currency, Decimal(0)) for each in usual)
        have = size.worth.get(currency, Decimal(0))
        if worth > 0 and have < least * worth:
            return (
                f"What was accepted is worth only {have:,.2f} {currency}".rstrip()
                + f", which is less than {least:.0%} of {days}, {worth:,.2f} {currency}".rstrip()
            )
    return ""
