"""What querying Omneo for transactions found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from pipeline.core.errors import StoppedByApi
from pipeline.core.model import RequestCounts
from pipeline.loading.confirm.estimate import Interval, share_interval
from pipeline.loading.ledger.entries import State


@dataclass(frozen=True)
class Finding:
    """A transaction that is not in Omneo as it was sent, or of which that is unknown.

    Attributes:
        external_id: Which.
        state: Missing, differing or in doubt.
        about: Names of the fields that differ.
    """

    external_id: str
    state: State
    about: tuple[str, ...] = ()


@dataclass
class Confirmation:
    """What the queries found.

    Attributes:
        expected: Transactions of the run that Omneo has taken, by this run or an earlier one, or perhaps.
        confirmed: Queried and found as sent.
        missing: Queried and not found.
        differing: Queried and found with other contents.
        in_doubt: Queried, and whether Omneo keeps it stays unknown.
        voided: Of those confirmed, how many this run voided, and are void.
        beside: What the ledger does not count for this run. By `confirmed`, `missing` and `differing`, those
            that it passed by as unchanged, since the ledger counts them for the run that delivered them; by
            `voided`, those of them that were voided since; by `undone`, those that it counts as voided and
            that differ; by `replaced` and `forgotten`, those that it delivered and that cannot be looked up
            any more, since another run delivered them again, or their contents were removed; by
            `gone_missing` and `gone_differing`, those of them that the ledger counts as such.
        findings: Those missing, differing and in doubt.
        differing_fields: Transactions by the name of a field that differs, such as `items.price_sell`.
        not_kept: Transactions by the name of a field that was sent and that Omneo answers without a value.
        one_by_one: Why each was queried with a request of its own; empty where lists were used, or were not
            worth trying.
        requests: What went over the wire.
        stopped: Whether it was asked to stop before it was through.
        error: Why the API stopped it before it was through: the token was refused, or there was no answer for
            too long.
    """

    expected: int = 0
    confirmed: int = 0
    missing: int = 0
    differing: int = 0
    in_doubt: int = 0
    voided: int = 0
    beside: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    differing_fields: Counter[str] = field(default_factory=Counter)
    not_kept: Counter[str] = field(default_factory=Counter)
    one_by_one: str = ""
    requests: RequestCounts = field(default_factory=RequestCounts)
    stopped: bool = False
    error: StoppedByApi | None = None

    @property
    def queried(self) -> int:
        """Transactions that were queried."""
        return self.confirmed + self.missing + self.differing + self.in_doubt

    @property
    def wrong(self) -> Interval:
        """The share of all expected transactions that is missing or differing, as far as the sample tells."""
        return share_interval(self.missing + self.differing, self.queried, self.expected)
