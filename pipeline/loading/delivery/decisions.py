"""What to do with each transaction of a run, given what the ledger knows of it: one small class a command."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final, NamedTuple

from pipeline.core.model import StagedTransaction
from pipeline.loading.delivery.added_keys import as_older_versions_voided, is_void, with_void
from pipeline.loading.ledger.entries import (
    ACCEPTED_BY_OMNEO,
    IN_FLIGHT,
    Counted,
    DeliveryProgress,
    Passed,
    Record,
    State,
    content_hash,
    has_newer_source,
    is_void_by_source,
    may_be_void,
    was_void,
)


class OnChange(StrEnum):
    """What to do with a transaction whose contents differ from what was delivered before."""

    SEND = "send"
    HOLD = "hold"
    SKIP = "skip"


class InDoubtRule(StrEnum):
    """What to do with a transaction of which it is unknown whether it was taken."""

    LOOKUP = "lookup"
    RESEND = "resend"


class Send(NamedTuple):
    """Send this body.

    Attributes:
        body: The exact bytes.
        hash: Of the staged body, which the ledger remembers.
        look_first: Whether Omneo may have it already.
        may_have_other: Whether Omneo may have other contents of it: then that it is there proves nothing.
        if_other: What to do where a query shows other contents.
        changed: Whether it is counted as changed: what the source says is other than what Omneo has.
        updates: Whether Omneo has, or may have, other contents of it, of which no item may be left.
        may_turn: Whether an earlier request may be late in Omneo's queue that voids it, or for a void that
            revives it: then what a query shows need not last.
        for_its_run: Whether it is sent for the run that has its record, not for the one that asks.
        void_by_source: Whether it is void because its source says so, and not because a person undid it.
        source_time: When the source that says so was written, microseconds since 1970; None for the time of
            the staged transaction.
    """

    body: bytes
    hash: bytes
    look_first: bool = False
    may_have_other: bool = False
    if_other: OnChange = OnChange.SEND
    changed: bool = False
    updates: bool = False
    may_turn: bool = False
    for_its_run: bool = False
    void_by_source: bool = False
    source_time: int | None = None


class QueryOnly(NamedTuple):
    """Query it and note what is there; send nothing.

    Attributes:
        body: As staged; empty where its customer was forgotten.
    """

    body: bytes


class Keep(NamedTuple):
    """Nothing to send.

    Attributes:
        counted: What the run counts it as from now on; None where the record says it already.
        changed: The action of the event `changed`, if there was a change.
        takes_over: Whether the record becomes this run's, in the state that `counted` says.
    """

    counted: Counted | None = None
    changed: str | None = None
    takes_over: bool = False


@dataclass(frozen=True, slots=True)
class Ignore:
    """The command has nothing to do with this transaction."""


Decision = Send | QueryOnly | Keep | Ignore


class Candidate(NamedTuple):
    """A transaction to decide on.

    Attributes:
        position: In the run's delivery order, from 0.
        transaction: As staged.
        record: What the ledger has of it; None where it has nothing.
        progress: How far the run is.
    """

    position: int
    transaction: StagedTransaction
    record: Record | None
    progress: DeliveryProgress

    @property
    def own(self) -> Record | None:
        """The record, if it is this run's."""
        record = self.record
        return record if record is not None and record.run_no == self.progress.run_no else None


class DeliveryRules(ABC):
    """What a command does with a run's transactions.

    Attributes:
        intent: The state of a transaction whose request is about to leave.
        accepted: The state of a transaction that Omneo took.
        resumes: Whether the command goes through the run in order, from its watermark.
        restores: Whether a try that did not work leaves a transaction as it was.
        is_guarded: Whether a load that is refused as a whole is stopped.
        stage: The stage's name in events.
        handles: States of the run's records that the command is about; None for the whole run.
    """

    intent: ClassVar[State] = State.SENDING
    accepted: ClassVar[State] = State.DELIVERED
    resumes: ClassVar[bool] = False
    restores: ClassVar[bool] = False
    is_guarded: ClassVar[bool] = False
    stage: ClassVar[str] = "load"
    handles: ClassVar[frozenset[State] | None] = None

    @abstractmethod
    def decide(self, candidate: Candidate) -> Decision:
        """What to do with one transaction of the run."""


@dataclass(frozen=True)
class LoadRules(DeliveryRules):
    """Send what is new or changed.

    What was undone by `void` stays undone until its contents change: a nightly export must not undo it. What
    the source itself cancelled is sent again where a later source says that it is complete after all.

    Attributes:
        on_change: What to do with changed ones.
        revive: Send what was undone again, no longer void.
        only_creates: Whether what is sent adds a second copy where Omneo has one, or one that is late.
    """

    resumes = True
    is_guarded = True
    on_change: OnChange = OnChange.SEND
    revive: bool = False
    only_creates: bool = False

    def decide(self, candidate: Candidate) -> Decision:
        """See `DeliveryRules`."""
        if candidate.record is None:
            body = candidate.transaction.body
            return Send(body, content_hash(body)) if body else Keep(State.FORGOTTEN)
        if not candidate.transaction.body:
            return _of_forgotten(candidate.own)
        if candidate.own is not None:
            return self._own(candidate.transaction.body, candidate.own)
        if has_newer_contents(candidate.record, candidate.transaction, candidate.progress):
            return self._brought_by_a_newer_run(candidate.transaction.body, candidate.record)
        return self._known(candidate.transaction.body, candidate.record)

    def _own(self, body: bytes, record: Record) -> Decision:
        """This run sent it before it was stopped, or was about to."""
        match record.state:
            case State.PENDING | State.FORGOTTEN:
                return self._not_taken(body, record)
            case State.SENDING | State.IN_DOUBT:
                return self._doubt(body, record)
            case State.VOIDING | State.VOIDED if self.revive:
                return _again(body, record)
            case State.VOIDING:
                return QueryOnly(body)
            case State.DELIVERED | State.CONFIRMED | State.MISSING | State.DIFFERING:
                return Keep()
            case State.REFUSED | State.FAILED | State.VOIDED:
                return Keep()

    def _brought_by_a_newer_run(self, body: bytes, record: Record) -> Decision:
        """Do not replace what Omneo took from a newer run; send what it did not take."""
        same = same_content(record, body)
        if same and record.state is State.VOIDED:
            return self._undone(body, record, same)
        if not surely_not_sent(record) or record.before in ACCEPTED_BY_OMNEO:
            return Keep(Passed.UNCHANGED, None if same else "superseded")
        if same and record.state is State.REFUSED:
            return Keep(State.REFUSED)
        return _again(body, record)

    def _known(self, body: bytes, record: Record) -> Decision:
        """An earlier run, or one with an older source, had to do with it."""
        same = same_content(record, body)
        match record.state:
            case State.PENDING | State.FORGOTTEN | State.REFUSED | State.FAILED:
                return self._not_taken(body, record)
            case State.SENDING | State.IN_DOUBT:
                return self._doubt(body, record)
            case State.VOIDED if is_void_by_source(record):
                return self._changed(body, record)
            case State.VOIDING | State.VOIDED:
                return self._undone(body, record, same)
            case State.DELIVERED | State.CONFIRMED | State.DIFFERING | State.MISSING if not same:
                return self._changed(body, record)
            case State.MISSING if not self.only_creates:
                # `confirm` did not find it, but Omneo may only be late: query it once more before sending it
                # again.
                return _doubtful(body, record)
            case State.DELIVERED | State.CONFIRMED | State.DIFFERING | State.MISSING:
                return Keep(Passed.UNCHANGED)

    def _not_taken(self, body: bytes, record: Record) -> Decision:
        """Omneo did not take it, or not another run's version, as far as is known."""
        if record.maybe_sent:
            return self._doubt(body, record)
        if record.state is State.REFUSED and same_content(record, body):
            return Keep(State.REFUSED, takes_over=True)
        # Omneo did not take the update, so it still has the version before.
        updates = record.before in ACCEPTED_BY_OMNEO
        return self._changed(body, record) if updates else _again(body, record)

    def _undone(self, body: bytes, record: Record, same: bool) -> Decision:
        """Another run's version was undone, or that was begun."""
        if not same:
            return self._doubt(body, record) if record.state is State.VOIDING else self._changed(body, record)
        if not self.revive:
            return Keep(Passed.UNDONE, "voided")
        return _again(body, record)

    def _doubt(self, body: bytes, record: Record) -> Send:
        return _doubtful(body, record, self.on_change)

    def _changed(self, body: bytes, record: Record) -> Decision:
        # An endpoint that only creates would add a second copy, so the change waits for another endpoint.
        if self.on_change is OnChange.HOLD or self.only_creates:
            return Keep(Passed.HELD, "held")
        if self.on_change is OnChange.SKIP:
            return Keep(Passed.UNCHANGED, "skipped")
        return _again(body, record)._replace(changed=True)


@dataclass(frozen=True)
class RetryRules(DeliveryRules):
    """Send again what this run could not deliver.

    Attributes:
        only_creates: See `LoadRules`.
    """

    handles = frozenset({State.REFUSED, State.FAILED, State.IN_DOUBT})
    only_creates: bool = False

    def decide(self, candidate: Candidate) -> Decision:
        """See `DeliveryRules`."""
        record, body = candidate.record, candidate.transaction.body
        if record is None or not body:
            return Ignore()
        if candidate.own is None:
            return self._taken_over(candidate, record) if record.place in _NOT_TAKEN else Ignore()
        # An earlier `retry` was cut off while it sent this one.
        begun = record.state is State.SENDING and record.before in (State.REFUSED, State.FAILED)
        if record.state is State.IN_DOUBT or begun:
            return _doubtful(body, record)
        if record.state in (State.REFUSED, State.FAILED):
            return self._not_taken(body, record)
        return Ignore()

    def _not_taken(self, body: bytes, record: Record) -> Decision:
        if record.maybe_sent:
            return _doubtful(body, record)
        if self.only_creates and record.before in ACCEPTED_BY_OMNEO:
            # Omneo did not take the update, so it still has the version before: this would add a copy.
            return Keep(changed="held")
        return _again(body, record)

    def _taken_over(self, candidate: Candidate, record: Record) -> Decision:
        """This run's version was not taken, and another run has the record: as that run's version fared."""
        decided = LoadRules(only_creates=self.only_creates).decide(candidate)
        is_refused = isinstance(decided, Keep) and decided.counted is State.REFUSED
        return self._not_taken(candidate.transaction.body, record) if is_refused else decided


_NOT_TAKEN: Final = frozenset({State.REFUSED, State.FAILED})


@dataclass(frozen=True)
class ResendRules(DeliveryRules):
    """Send again what Omneo took and does not have.

    A run that passed a sale by as unchanged counts on another's: then it is sent for that other run.
    """

    restores = True
    handles = frozenset({State.MISSING})

    def decide(self, candidate: Candidate) -> Decision:
        """See `DeliveryRules`."""
        record, body = candidate.record, candidate.transaction.body
        if record is None or not body or not same_content(record, body):
            return Ignore()
        # The second case: an earlier resend was cut off while it sent this one.
        if record.state is State.MISSING or (
            record.state is State.SENDING and record.before is State.MISSING
        ):
            return _doubtful(body, record)._replace(for_its_run=True)
        return Ignore()


_IN_OMNEO: Final = ACCEPTED_BY_OMNEO - {State.VOIDED}


@dataclass(frozen=True)
class VoidRules(DeliveryRules):
    """Send every transaction of the run that was delivered, or perhaps taken, again as void.

    A transaction that a later run has updated belongs to that run and is left alone.

    Attributes:
        only: External ids of those that the source cancelled, and when it was written where that is known;
            None for all, because a person undoes the run.
    """

    intent = State.VOIDING
    accepted = State.VOIDED
    restores = True
    stage = "void"
    handles = _IN_OMNEO | IN_FLIGHT | {State.IN_DOUBT}
    only: Mapping[str, int | None] | None = None

    def decide(self, candidate: Candidate) -> Decision:
        """See `DeliveryRules`."""
        # The body of a forgotten customer is gone; id, time and total remain, which is enough to void it.
        record, body = candidate.record, candidate.transaction.body or candidate.transaction.remains
        if record is None or not body or record.state is State.VOIDED:
            return Ignore()
        if self.only is not None and record.external_id not in self.only:
            return Ignore()
        if candidate.own is None:
            # Omneo did not take the later run's version, so it still has this run's.
            left = surely_not_sent(record) and record.place in _IN_OMNEO
        else:
            left = not surely_not_sent(record) or record.before in _IN_OMNEO
        if not left:
            return Ignore()
        # A request sent after an earlier void may still be in Omneo's queue; then a query still shows that
        # void.
        content = content_hash(body) if candidate.own is None else record.hash
        return Send(
            with_void(body, void=True),
            content,
            may_turn=was_void(record),
            void_by_source=self.only is not None,
            source_time=None if self.only is None else self.only[record.external_id],
        )


def is_in_omneo(record: Record) -> bool:
    """Whether Omneo has the transaction, not void, or perhaps has it; also in an older version."""
    if record.state is State.VOIDED or is_void_by_source(record):
        return False
    perhaps = record.maybe_sent or record.state in IN_FLIGHT or record.state is State.IN_DOUBT
    return perhaps or record.state in _IN_OMNEO or record.before in _IN_OMNEO


def _again(body: bytes, record: Record) -> Send:
    """Send what Omneo surely has not taken since, or an update of what it has."""
    has_other = record.state in ACCEPTED_BY_OMNEO or record.before in ACCEPTED_BY_OMNEO
    # A voided transaction that is sent again unchanged has the same items, so none is left over.
    updates = has_other and not (record.state in ACCEPTED_BY_OMNEO and same_content(record, body))
    return _unless_void(Send(body, content_hash(body), may_have_other=has_other, updates=updates), record)


def _doubtful(body: bytes, record: Record, if_other: OnChange = OnChange.SEND) -> Send:
    """Send what may have been taken already, unless a query shows that it was."""
    other = not same_content(record, body) or has_other_contents(record)
    send = Send(
        body, content_hash(body), look_first=True, may_have_other=other, if_other=if_other, updates=other
    )
    return _unless_void(send, record)


def _unless_void(send: Send, record: Record) -> Send:
    """Add `is_void: false` where Omneo has the transaction as void, or may have it so later."""
    if not may_be_void(record) or is_void(send.body):
        return send
    return send._replace(body=with_void(send.body, void=False), may_turn=True)


def has_other_contents(record: Record) -> bool:
    """Whether Omneo may have other contents than those that the record is about, which are in doubt."""
    # An earlier request, before the one under way, may have had other contents.
    return record.before not in (None, State.PENDING) or (record.state in IN_FLIGHT and record.attempts > 0)


def _of_forgotten(own: Record | None) -> Decision:
    """A transaction whose contents were removed for its customer's sake is never sent."""
    if own is None or (surely_not_sent(own) and own.before not in ACCEPTED_BY_OMNEO):
        return Keep(State.FORGOTTEN)
    return Keep() if own.state in ACCEPTED_BY_OMNEO or own.state is State.FORGOTTEN else QueryOnly(b"")


def surely_not_sent(record: Record) -> bool:
    """Whether Omneo surely has nothing of the contents that the record is about."""
    unsent = (State.PENDING, State.REFUSED, State.FAILED, State.FORGOTTEN)
    return record.state in unsent and not record.maybe_sent


def has_newer_contents(record: Record, transaction: StagedTransaction, progress: DeliveryProgress) -> bool:
    """Whether another run's record is about newer contents: by the time of the sources, else by the runs."""
    by_source = has_newer_source(record.source_time, transaction.source_time)
    return record.run_no in progress.newer_runs if by_source is None else by_source


def same_content(record: Record, body: bytes) -> bool:
    """Whether a record is about this very content.

    Older versions kept the hash of what was sent to void a transaction, not that of its staged body.
    """
    if record.hash == content_hash(body):
        return True
    voids = {State.VOIDED, State.VOIDING, State.IN_DOUBT}
    return record.state in voids and record.hash == content_hash(as_older_versions_voided(body))
