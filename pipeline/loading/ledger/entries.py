"""What the ledger holds: records of transactions, how far a run is, leases, files that were read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Final, NamedTuple

from pipeline.core.errors import ImportToolError


class State(StrEnum):
    """What is known about one transaction."""

    PENDING = "pending"  # claimed once, then given back unsent
    SENDING = "sending"  # a request may be on its way; after a crash: in doubt
    VOIDING = "voiding"  # the same for a request that voids it
    IN_DOUBT = "in_doubt"  # Omneo may have taken it, and a query has not shown it
    DELIVERED = "delivered"  # Omneo answered that it took it
    REFUSED = "refused"  # Omneo said no for good
    FAILED = "failed"  # given up after several tries
    CONFIRMED = "confirmed"  # delivered, and seen in Omneo as it was sent
    MISSING = "missing"  # delivered, and not found in Omneo
    DIFFERING = "differing"  # delivered, and found in Omneo with other contents
    VOIDED = "voided"  # delivered, and sent again as void
    FORGOTTEN = "forgotten"  # never taken by Omneo, and its contents were removed for its customer's sake


class Passed(StrEnum):
    """How a run counts a transaction that it passed by, so that the record is another run's."""

    UNCHANGED = "unchanged"  # Omneo has this content, or changes are not to be sent
    HELD = "held"  # changed, and kept back by `--on-change hold`
    UNDONE = "undone"  # this content was undone by `void` of another run, and stays so
    SUPERSEDED = "superseded"  # a newer run has taken it over before Omneo accepted it from this one


Counted = State | Passed
"""What a transaction of a run is counted as; each is counted exactly once."""

COUNTED: Final[tuple[Counted, ...]] = (*State, *Passed)

ACCEPTED_BY_OMNEO: Final = frozenset(
    {State.DELIVERED, State.CONFIRMED, State.MISSING, State.DIFFERING, State.VOIDED}
)
"""States of a transaction for which Omneo answered yes."""

IN_FLIGHT: Final = frozenset({State.SENDING, State.VOIDING})
"""States of a transaction of which a request may be on its way."""

UNSETTLED: Final = frozenset(State) - {State.DELIVERED, State.CONFIRMED, State.VOIDED, State.FORGOTTEN}
"""States that some command may still change."""


class Record(NamedTuple):
    """What the ledger knows of one transaction in one tenant.

    Attributes:
        external_id: Key of Omneo's upsert, and of this record.
        hash: Of the staged body last sent or about to be sent, also where it was sent as void.
        state: What is known.
        run_no: The run that sent it last.
        attempts: Requests that were made for it, in all runs.
        status: HTTP status of the last answer; None where there was none.
        message: The last answer's messages as JSON (`message`, `errors` by field), masked; None without any.
        batch: Omneo's id of the batch it went in; None where it went alone.
        before: The state from which the current attempt started; None where it was new. Beside a state that
            Omneo accepted: `VOIDED` where Omneo has it as void because its source says so, else None.
        maybe_sent: Whether Omneo may have kept some request for it whose outcome is not proven.
        omneo_id: Omneo's own id; None where unknown.
        source_time: When the source file that it came from was written, microseconds since 1970.
        total: As it was staged, a decimal number; a webhook's must be the same.
        held_run: The run in which newer contents wait for `--on-change`. The ledger alone writes it.
        at: When the state was written, seconds since 1970.
        place: What the run that asked counts it as, where the record does not say. Not stored with it.
    """

    external_id: str
    hash: bytes
    state: State
    run_no: int
    attempts: int = 0
    status: int | None = None
    message: str | None = None
    batch: str | None = None
    before: State | None = None
    maybe_sent: bool = False
    omneo_id: str | None = None
    source_time: int | None = None
    total: str | None = None
    held_run: int | None = None
    at: int = 0
    place: Counted | None = None


def counted_in(
    run_no: int, record: Record | None, place: Counted | None = None, *, passed: bool = False
) -> Counted:
    """What a run counts a transaction as.

    Args:
        run_no: The run.
        record: What the ledger has of the transaction.
        place: What it is counted as in the run where the record does not say; see `Record.place`.
        passed: Whether it lies below the run's watermark.
    """
    if record is not None and record.run_no == run_no:
        return record.state
    if record is not None and record.held_run == run_no:
        return Passed.HELD
    if place is not None:
        return place
    return Passed.UNCHANGED if passed else State.PENDING


def has_newer_source(source_time: int | None, other: int | None) -> bool | None:
    """Whether contents are newer than others by the times of their sources; None where these do not say."""
    if source_time is None or other is None or source_time == other:
        return None
    return source_time > other


def may_be_void(record: Record) -> bool:
    """Whether Omneo has a transaction as void, or may have it so later because a void of it is late.

    A body without `is_void` would leave it void. A query that shows it not void proves nothing while a void
    may be late.
    """
    states = {record.state, record.before}
    # What is unproven of a transaction that Omneo took may be a void that is late.
    return bool(states & _VOIDS) or (record.maybe_sent and bool(states & ACCEPTED_BY_OMNEO))


def is_void_by_source(record: Record) -> bool:
    """Whether Omneo has a transaction as void because its source says so: no person undid it."""
    return record.state in ACCEPTED_BY_OMNEO and record.before is State.VOIDED


def was_void(record: Record) -> bool:
    """Whether Omneo may have had it as void before the last request: a query may show that void yet."""
    return record.before in _VOIDS


_VOIDS: Final = frozenset({State.VOIDED, State.VOIDING})


class Stamp(NamedTuple):
    """Transactions that went out together, and Omneo's id of their batch.

    Attributes:
        external_ids: Whose records get it; they are there already.
        batch: The id.
    """

    external_ids: Sequence[str]
    batch: str


class Return(NamedTuple):
    """An intent is taken back, since its request surely never left: all is as it was before.

    Attributes:
        run_no: The run whose intent it was.
        record: What was there before, perhaps another run's.
    """

    run_no: int
    record: Record


class Pass(NamedTuple):
    """A run passes a transaction by, and this is kept for the transaction itself.

    What is merely unchanged needs none: that counts with the watermark; see `DeliveryProgress.unchanged`.

    Attributes:
        external_id: The transaction.
        run_no: The run.
        counted: Held, forgotten, or unchanged where it was counted as something else before.
        at: When, seconds since 1970.
    """

    external_id: str
    run_no: int
    counted: Counted
    at: int = 0


Write = Record | Stamp | Return | Pass


def content_hash(body: bytes) -> bytes:
    """16 bytes of BLAKE2b over the exact body: the same content is not sent twice."""
    return blake2b(body, digest_size=16).digest()


@dataclass(frozen=True)
class DeliveryProgress:
    """How far a run, or one part of it, is.

    Positions count transactions in delivery order from 0. Everything below `watermark` is settled; beyond it
    some are. A restart goes on from the watermark and finds by the records what it missed.

    Attributes:
        run_no: The run's number in this ledger.
        part: 0 unless several workers share the run.
        size: Transactions in this part.
        watermark: Position of the first that is not settled.
        unchanged: Positions below the watermark that count as unchanged, and of which nothing else is kept.
        newer_runs: Numbers of the runs with a higher ordinal.
    """

    run_no: int
    part: int
    size: int
    watermark: int = 0
    unchanged: int = 0
    newer_runs: frozenset[int] = frozenset()


@dataclass(frozen=True)
class RunRef:
    """A staged run as delivery sees it.

    Attributes:
        run_id: Its name.
        size: Its transactions.
        ordinal: Of two runs with one transaction the one with the higher ordinal wins, unless the times of
            their sources say otherwise.
    """

    run_id: str
    size: int
    ordinal: int


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


class CountsBroken(RuntimeError):
    """The counts of a run would not add up: a bug, never the user's doing. Nothing was written."""


@dataclass(frozen=True)
class PartSelection:
    """Which parts of a run are wanted.

    Attributes:
        beyond: Those with a higher number only. The part of a run that began in SQLite has the number 0.
        unfinished: Those only in which something is not settled.
    """

    beyond: int = -1
    unfinished: bool = False


@dataclass(frozen=True)
class RunStatus:
    """A run's delivery to one tenant, as shown to people.

    `delivered + unchanged + refused + failed + pending + in_doubt + voided + forgotten = accepted`. `held` is
    a part of `pending`; `confirmed`, `missing` and `differing` are parts of `delivered`.
    """

    accepted: int
    delivered: int = 0
    unchanged: int = 0
    refused: int = 0
    failed: int = 0
    pending: int = 0
    in_doubt: int = 0
    voided: int = 0
    forgotten: int = 0
    held: int = 0
    confirmed: int = 0
    missing: int = 0
    differing: int = 0

    @classmethod
    def of(cls, counts: Mapping[Counted, int]) -> RunStatus:
        """The status that these counts make."""
        shown: dict[str, int] = {}
        for counted, number in counts.items():
            name = DELIVERY[counted]
            shown[name] = shown.get(name, 0) + number
        parts = (Passed.HELD, State.CONFIRMED, State.MISSING, State.DIFFERING)
        return cls(sum(counts.values()), **shown, **{str(part): counts.get(part, 0) for part in parts})


DELIVERY: Final[Mapping[Counted, str]] = {
    State.PENDING: "pending",
    State.SENDING: "in_doubt",
    State.VOIDING: "in_doubt",
    State.IN_DOUBT: "in_doubt",
    State.DELIVERED: "delivered",
    State.REFUSED: "refused",
    State.FAILED: "failed",
    State.CONFIRMED: "delivered",
    State.MISSING: "delivered",
    State.DIFFERING: "delivered",
    State.VOIDED: "voided",
    State.FORGOTTEN: "forgotten",
    Passed.UNCHANGED: "unchanged",
    Passed.HELD: "pending",
    Passed.UNDONE: "voided",
    Passed.SUPERSEDED: "unchanged",
}
"""The number of the summary to which each count belongs; none is left out."""


@dataclass(frozen=True)
class ImportedFile:
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
