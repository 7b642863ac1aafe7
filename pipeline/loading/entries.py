"""What the ledger holds: rows of transactions, how far a run is, leases, files that were read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b
from typing import Final, NamedTuple

from pipeline.errors import ImportToolError


class State(StrEnum):
    """What is known about one transaction."""

    PENDING = "pending"  # claimed once, then given back unsent
    SENDING = "sending"  # a request may be on its way; after a crash: in doubt
    DELIVERED = "delivered"  # Omneo answered that it took it
    REFUSED = "refused"  # Omneo said no for good
    FAILED = "failed"  # given up after several tries; perhaps taken
    CONFIRMED = "confirmed"  # delivered, and seen in Omneo as it was sent
    MISSING = "missing"  # delivered, and not found in Omneo
    DIFFERING = "differing"  # delivered, and found in Omneo with other contents
    VOIDED = "voided"  # delivered, and sent again as void


ACCEPTED_BY_OMNEO: Final = frozenset(
    {State.DELIVERED, State.CONFIRMED, State.MISSING, State.DIFFERING, State.VOIDED}
)
"""States of a transaction for which Omneo answered yes."""


class Row(NamedTuple):
    """One transaction in the ledger.

    Attributes:
        external_id: Key of Omneo's upsert, and of this table.
        hash: Of the body last sent or about to be sent; see `content_hash`.
        state: What is known.
        attempts: Requests that were made for it, in all runs.
        status: HTTP status of the last answer; None where there was none.
        words: The last answer's words as JSON (`message`, `errors` by field); None where it had none.
        batch: Omneo's id of the batch it went in; None where it went alone.
        run_no: The run that sent it last.
        at: When the state was written, seconds since 1970.
    """

    external_id: str
    hash: bytes
    state: State
    attempts: int
    status: int | None
    words: str | None
    batch: str | None
    run_no: int
    at: int


class Stamp(NamedTuple):
    """Transactions that went out together, and Omneo's id of their batch.

    Attributes:
        external_ids: Whose rows get it; they are there already.
        batch: The id.
    """

    external_ids: Sequence[str]
    batch: str


def content_hash(body: bytes) -> bytes:
    """16 bytes of BLAKE2b over the exact body: the same content is not sent twice."""
    return blake2b(body, digest_size=16).digest()


@dataclass(frozen=True)
class Counts:
    """Settled transactions of a run by what became of them.

    Attributes:
        delivered: Sent by this run, and Omneo took them.
        unchanged: Not sent: Omneo has this content, or newer, or changes are skipped.
        refused: Omneo said no for good.
        failed: Given up after several tries.
        held: Changed, and kept back by `--on-change hold`; a part of what is pending.
    """

    delivered: int = 0
    unchanged: int = 0
    refused: int = 0
    failed: int = 0
    held: int = 0

    def plus(self, kind: str, by: int = 1) -> Counts:
        """The counts with one of them changed."""
        return replace(self, **{kind: getattr(self, kind) + by})

    def added(self, other: Counts) -> Counts:
        """The sum, count by count."""
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Counts)))


KINDS: Final = tuple(each.name for each in fields(Counts))


@dataclass(frozen=True)
class Progress:
    """How far a run, or one part of it, is.

    Positions count transactions in delivery order from 0. Everything below `watermark` is settled;
    beyond it some are. A restart goes on from the watermark with `below` and finds again what it missed.

    Attributes:
        run_no: The run's number in this ledger.
        part: 0 unless several workers share the run.
        size: Transactions in this part.
        watermark: Position of the first that is not settled.
        below: Counts of the positions below the watermark.
        settled: Counts of all settled positions.
        newer_runs: Numbers of the runs prepared later: what they delivered is not overwritten by this one.
    """

    run_no: int
    part: int
    size: int
    watermark: int = 0
    below: Counts = field(default_factory=Counts)
    settled: Counts = field(default_factory=Counts)
    newer_runs: frozenset[int] = frozenset()


@dataclass(frozen=True)
class RunRef:
    """A staged run, or one part of it, as delivery sees it.

    Attributes:
        run_id: Its name.
        size: Transactions in this part.
        prepared_at: When it was staged; with tz. Of two runs with one transaction the later one wins.
        part: 0 unless several workers share the run.
    """

    run_id: str
    size: int
    prepared_at: datetime
    part: int = 0


@dataclass(frozen=True)
class Lease:
    """A part that is a worker's own until the lease ends.

    Attributes:
        run_no: The run.
        part: Which part of it.
        owner: Name of the worker, unique among all.
    """

    run_no: int
    part: int
    owner: str


class LeaseLost(ImportToolError):
    """Another worker has taken a part over, since its lease was not renewed in time."""

    def __init__(self, lease: Lease) -> None:
        super().__init__(f"Part {lease.part} was taken over by another worker.")


@dataclass(frozen=True)
class Wanted:
    """Which parts of a run are wanted.

    Attributes:
        beyond: Those with a higher number only.
        unfinished: Those only in which something is not settled.
        held: Those in which something was held back too.
    """

    beyond: int = 0
    unfinished: bool = False
    held: bool = False


@dataclass(frozen=True)
class RunStatus:
    """A run's delivery, as told to people.

    `delivered + unchanged + refused + failed + pending = accepted`. `held` is a part of `pending`;
    `confirmed`, `missing`, `differing` and `voided` are parts of `delivered`.
    """

    accepted: int
    delivered: int
    unchanged: int
    refused: int
    failed: int
    pending: int
    held: int = 0
    confirmed: int = 0
    missing: int = 0
    differing: int = 0
    voided: int = 0


@dataclass(frozen=True)
class SourceFile:
    """A source file that was read, so that a nightly run takes only new or changed ones.

    Attributes:
        path: As given, or the object's address.
        size: Bytes.
        modified_ns: Nanoseconds since 1970.
        digest: Of the contents.
        run_id: The run that read it.
        recipe: Digest of what it was read by, the mapping with its tables; each knows its own files.
    """

    path: str
    size: int
    modified_ns: int
    digest: str
    run_id: str
    recipe: str = ""
