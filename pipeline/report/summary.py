"""The summary: what a script reads after `--json` and in `report.json`.

The keys, their order and their meaning are fixed by the command line's contract.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from pipeline.core.model import RequestCounts
from pipeline.core.text.wording import count

DEFAULT_WORKDIR: Final = Path(".omneo-import")
NO_CURRENCY: Final = "none"
"""Name of the sum of transactions without a currency, where there are several currencies."""

Total = str | dict[str, str]
"""An exact sum as a decimal string; by currency where the run has several."""


class AccountingError(RuntimeError):
    """The counts of a run do not add up: a bug, never the user's doing (exit code 1)."""


@dataclass(frozen=True)
class RowTotals:
    """Rows of the source by what became of them; those not named here are rows of a transaction.

    Attributes:
        read: All of them.
        malformed: Those that could not be read.
        duplicate: Those left out because another copy of them, or another version of their sale, counts.
        skipped: Those left out by rule: blank rows, repeated headers, records of types that are not mapped,
            and rows that the mapping leaves out.
    """

    read: int = 0
    malformed: int = 0
    duplicate: int = 0
    skipped: int = 0


@dataclass(frozen=True)
class TransactionCounts:
    """Transactions by what became of them."""

    read: int = 0
    accepted: int = 0
    dropped: int = 0
    rejected: int = 0


@dataclass(frozen=True)
class DeliveryCounts:
    """Accepted transactions by where they stand, each in exactly one; before any load all are pending."""

    delivered: int = 0
    unchanged: int = 0
    refused: int = 0
    failed: int = 0
    pending: int = 0
    in_doubt: int = 0
    voided: int = 0
    forgotten: int = 0


@dataclass(frozen=True)
class BesideLedger:
    """What the last `confirm` of a run found that the ledger does not count for this run.

    Attributes:
        confirmed: Found as sent, of those that it passed by as unchanged.
        missing: Not found, of the same.
        differing: Found, but not as sent, of the same.
        voided: Voided by another run since this one passed them by as unchanged; they differ.
        undone: Counted as voided, and differing.
        replaced: Delivered by this run, and delivered again by another one, whose they are to confirm.
        forgotten: Delivered by this run; their contents were removed since, so nothing can be compared.
        gone_missing: Those replaced or forgotten that the ledger counts as missing for this run.
        gone_differing: The same for differing.
    """

    confirmed: int = 0
    missing: int = 0
    differing: int = 0
    voided: int = 0
    undone: int = 0
    replaced: int = 0
    forgotten: int = 0
    gone_missing: int = 0
    gone_differing: int = 0

    @property
    def gone(self) -> int:
        """Transactions that this run delivered and that it cannot confirm any more."""
        return self.replaced + self.forgotten

    @property
    def only_void(self) -> int:
        """Transactions that differ since they are void in Omneo."""
        return self.voided + self.undone


@dataclass(frozen=True)
class Summary:
    """What a run did, in numbers that add up.

    Attributes:
        run_id: Name of the run.
        run_dir: Its directory.
        report: Path of its `report.html`.
        started_at: ISO 8601, UTC.
        duration_s: Seconds.
        rows: Rows of the source.
        transactions: read = accepted + dropped + rejected.
        dropped: Transactions by code; one may count under several.
        rejected: As `dropped`.
        warnings: As `dropped`.
        totals: For accepted, dropped and rejected the sum of totals; see `totals_of`.
        delivery: Sums to the accepted transactions.
        confirmed: Found in Omneo as sent; None until `confirm` or `listen` looked.
        missing: Not found in Omneo; None as above.
        differing: Found, but not as sent; None as above.
        requests: Requests on the wire.
        tenant: The base URL of the tenant that `delivery` and what follows it are about; None without one.
        beside: The part of the last `confirm` that the ledger does not count for this run.

    Raises:
        AccountingError: The counts do not add up.
    """

    run_id: str
    run_dir: str
    report: str
    started_at: str
    duration_s: float
    rows: RowTotals
    transactions: TransactionCounts
    dropped: Mapping[str, int]
    rejected: Mapping[str, int]
    warnings: Mapping[str, int]
    totals: Mapping[str, Total]
    delivery: DeliveryCounts
    confirmed: int | None = None
    missing: int | None = None
    differing: int | None = None
    requests: RequestCounts = field(default_factory=RequestCounts)
    tenant: str | None = None
    beside: BesideLedger = field(default_factory=BesideLedger)

    @property
    def differing_in_values(self) -> int:
        """Transactions that are in Omneo as sales, with other values than were sent."""
        return (self.differing or 0) - self.beside.only_void

    @property
    def unconfirmed(self) -> int:
        """Transactions that this run delivered, that were not looked up since, and that can be."""
        beside = self.beside
        confirmed = (self.confirmed or 0) - beside.confirmed
        missing = (self.missing or 0) - beside.missing
        differing = self.differing_in_values - beside.differing
        return max(0, self.delivery.delivered - confirmed - missing - differing - beside.gone)

    @property
    def taken(self) -> int:
        """Transactions that `confirm` is about: delivered, and unchanged where it queried those too."""
        return self.delivery.delivered + (self.delivery.unchanged if self.beside.confirmed else 0)

    def __post_init__(self) -> None:
        t, d = self.transactions, self.delivery
        judged = t.accepted + t.dropped + t.rejected
        if t.read != judged:
            raise AccountingError(
                f"{count(t.read, 'transaction', 'was')} read, "
                f"but accepted, dropped and rejected make {judged}."
            )
        placed = sum(asdict(d).values())
        if t.accepted != placed:
            raise AccountingError(
                f"{count(t.accepted, 'transaction', 'was')} accepted, but the delivery accounts for {placed}."
            )

    def as_dict(self) -> dict[str, Any]:
        """The contract's JSON object: its keys in its order. Whose delivery it is, `status` adds."""
        values = asdict(self)
        del values["tenant"], values["beside"]
        return values

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Summary:
        """Read what `as_dict` gave; other keys, such as those of `report.json`, are ignored."""
        nested = {
            "rows": RowTotals,
            "transactions": TransactionCounts,
            "delivery": DeliveryCounts,
            "requests": RequestCounts,
        }
        known = {f.name: data[f.name] for f in fields(cls) if f.name in data}
        return cls(**{name: nested[name](**known[name]) if name in nested else known[name] for name in known})


def empty_summary() -> Summary:
    """The summary of a command that had nothing to do: no name, no paths, all numbers zero."""
    return Summary(
        run_id="",
        run_dir="",
        report="",
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        duration_s=0.0,
        rows=RowTotals(),
        transactions=TransactionCounts(),
        dropped={},
        rejected={},
        warnings={},
        totals=totals_of({outcome: {} for outcome in ("accepted", "dropped", "rejected")}),
        delivery=DeliveryCounts(),
    )


def totals_of(sums: Mapping[str, Mapping[str | None, Decimal]]) -> dict[str, Total]:
    """Write sums as the summary does.

    Where all transactions have the same currency, or all have none, each sum is one decimal string:
    `{"accepted": "123.45"}`. Where there are several, each is an object by currency, in alphabetical order,
    with `none` for transactions without one: `{"accepted": {"AUD": "1.00", "NZD": "2.00", "none": "0.50"}}`.

    Args:
        sums: By outcome, the exact sum by currency; None is "no currency".
    """
    currencies = {currency for by_currency in sums.values() for currency in by_currency}
    if len(currencies) <= 1:
        return {outcome: decimal_text(sum(amounts.values(), Decimal())) for outcome, amounts in sums.items()}
    return {
        outcome: {
            currency or NO_CURRENCY: decimal_text(amounts[currency])
            for currency in sorted(amounts, key=lambda name: (name is None, name or ""))
        }
        for outcome, amounts in sums.items()
    }


def added(totals: Sequence[Total]) -> Total:
    """The sum of sums, by currency where one of them is."""
    if all(isinstance(total, str) for total in totals):
        return decimal_text(sum((Decimal(str(total)) for total in totals), Decimal()))
    sums: dict[str, Decimal] = {}
    for total in totals:
        for currency, amount in total.items() if isinstance(total, Mapping) else ():
            sums[currency] = sums.get(currency, Decimal()) + Decimal(amount)
    return {currency: decimal_text(amount) for currency, amount in sorted(sums.items())}


def decimal_text(amount: Decimal) -> str:
    """The amount in full, with two places or as many more as it needs: `5.00`, `0.125`, never `1E+3`."""
    whole, _, places = f"{amount:.4f}".partition(".")
    return f"{whole}.{places[:2]}{places[2:].rstrip('0')}"


def most_rejected(numbers: TransactionCounts) -> bool:
    """Whether more than half was rejected. Then the accepted ones are hardly worth loading."""
    return 2 * numbers.rejected > numbers.read
