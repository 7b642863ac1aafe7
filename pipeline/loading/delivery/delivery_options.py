"""How a run is to be delivered, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.core.errors import ImportToolError, SettingsError
from pipeline.core.model import RequestCounts
from pipeline.loading.delivery.decisions import InDoubtRule, OnChange
from pipeline.loading.http.endpoints import ENDPOINTS, Endpoint, endpoint_named
from pipeline.loading.http.paced_client import Limits
from pipeline.loading.ledger.entries import RunStatus


@dataclass(frozen=True)
class DeliveryOptions(Limits):
    """What the command line says about sending, besides the bounds of the traffic.

    Attributes:
        endpoint: The way into Omneo; see `endpoint_named`.
        batch_size: Transactions a request, where the endpoint is batched; 1 to 500.
        on_change: What to do with transactions delivered before with other contents.
        keep_old_items: Leave items in Omneo that an update of their sale no longer has.
        revive: Send what `void` has undone again, no longer void.
        in_doubt: What to do with those of which a crash left unknown whether they were taken.
        grace_s: How long what is in flight may take after a request to stop.
        max_refused: After how many transactions in a row that are all refused a load stops, or `off`; None
            for 50 at the start and 200 later.
        first: How many transactions to send before it ends, the next ones in delivery order; None for all.
        part_size: Transactions that a worker leases at a time, where several share a ledger.
        lease_s: After how long without a sign of life a worker's part is given to another.
    """

    endpoint: Endpoint = ENDPOINTS["queue"]
    batch_size: int = 100
    on_change: OnChange = OnChange.SEND
    keep_old_items: bool = False
    revive: bool = False
    in_doubt: InDoubtRule = InDoubtRule.LOOKUP
    grace_s: float = 30.0
    max_refused: int | Literal["off"] | None = None
    first: int | None = None
    part_size: int = 2_000
    lease_s: float = 30.0

    def __post_init__(self) -> None:
        if isinstance(self.endpoint, str):
            object.__setattr__(self, "endpoint", endpoint_named(self.endpoint))
        if not 1 <= self.batch_size <= 500:
            raise SettingsError(f"--batch-size {self.batch_size}: 1 to 500 was expected.")
        if self.concurrency < 1:
            raise SettingsError(f"--concurrency {self.concurrency}: at least 1 was expected.")
        if self.rate_per_min is not None and self.rate_per_min <= 0:
            raise SettingsError(f"--rate {self.rate_per_min}/min: more than 0 was expected.")
        if isinstance(self.max_refused, int) and self.max_refused < 1:
            raise SettingsError(f"--max-refused {self.max_refused}: at least 1, or off, was expected.")

    @property
    def group_size(self) -> int:
        """Transactions a request."""
        return self.batch_size if self.endpoint.batched else 1


@dataclass
class Changes:
    """Transactions that differed from what Omneo was last sent, by what was done with them."""

    sent: int = 0
    held: int = 0
    skipped: int = 0
    superseded: int = 0
    voided: int = 0


@dataclass(frozen=True)
class DeliveryResult:
    """What one call of `deliver` did.

    Attributes:
        status: The run's counts, all sessions together.
        requests: What this session sent.
        changes: What this session found changed.
        handled: Transactions settled in this session.
        failed: Those of them that Omneo refused or that were given up.
        seconds: How long it took.
        stopped: Whether it was asked to stop before it was through.
        not_voided: Sales cancelled after an earlier run delivered them that could not be voided.
        error: Why the API stopped it, or why the ledger could not be written; None otherwise. Raise it
            once the summary is written.
    """

    status: RunStatus
    requests: RequestCounts
    changes: Changes
    handled: int
    failed: int
    seconds: float
    stopped: bool = False
    not_voided: int = 0
    error: ImportToolError | None = None
