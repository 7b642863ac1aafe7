"""What to do with each transaction of a run, given what the ledger knows of it: one small class a command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from pipeline.loading.entries import (
    ACCEPTED_BY_OMNEO,
    Counted,
    Passed,
    Progress,
    Record,
    State,
    content_hash,
)
from pipeline.model import StagedTransaction


class OnChange(StrEnum):
    """What to do with a transaction whose contents differ from what was delivered before."""

    SEND = "send"
    HOLD = "hold"
    SKIP = "skip"


class InDoubtRule(StrEnum):
    """What to do with a transaction of which a crash left unknown whether it was taken."""

    LOOKUP = "lookup"
    RESEND = "resend"


class Send(NamedTuple):
    """Send this body.

    Attributes:
        body: The exact bytes.
        hash: Of the content that the ledger remembers for it.
        in_doubt: Whether it may have been taken already.
        changed: Whether Omneo has other contents of it, as far as the ledger knows.
        earlier: Whether Omneo may have an earlier version: then finding it there proves nothing.
    """

    body: bytes
    hash: bytes
    in_doubt: bool = False
    changed: bool = False
    earlier: bool = False


class Settled(NamedTuple):
    """Nothing to send.

    Attributes:
        counted: What the run counts it as from now on; None where the record says it already.
        changed: The action to be told, if there was a change.
    """

    counted: Counted | None = None
    changed: str | None = None


@dataclass(frozen=True, slots=True)
class Ignore:
    """None of this command's business."""


Step = Send | Settled | Ignore


class Case(NamedTuple):
    """A transaction to decide on.

    Attributes:
        position: In the run's delivery order, from 0.
        transaction: As staged.
        row: What the ledger has of it; None where it has nothing.
        progress: How far the run is.
    """

    position: int
    transaction: StagedTransaction
    row: Record | None
    progress: Progress


class Plan(Protocol):
    """What a command does with a run's transactions.

    Attributes:
        taken: The state of a transaction that Omneo took.
        counts: Whether outcomes change the run's counts.
        resumes: Whether the command goes through the run in order, from its watermark.
    """

    @property
    def taken(self) -> State: ...  # noqa: D102
    @property
    def counts(self) -> bool: ...  # noqa: D102
    @property
    def resumes(self) -> bool: ...  # noqa: D102

    def step(self, case: Case) -> Step:
        """What to do with one transaction of the run."""


@dataclass(frozen=True)
class Load:
    """Send what is new or changed.

    What was undone by `void` stays undone until its contents change: a nightly export must not undo it.

    Attributes:
        on_change: What to do with changed ones.
        revive: Send what was undone again, no longer void.
    """

    on_change: OnChange = OnChange.SEND
    revive: bool = False
    taken: State = State.DELIVERED
    counts: bool = True
    resumes: bool = True

    def step(self, case: Case) -> Step:
        """See `Plan`."""
        _, transaction, row, progress = case
        content = content_hash(transaction.body)
        if row is None or row.state in (State.PENDING, State.FORGOTTEN):
            return Send(transaction.body, content)
        if row.run_no == progress.run_no:
            return self._again(transaction, row, content)
        if row.run_no in progress.newer_runs:
            return Settled(Passed.UNCHANGED, None if same_content(row, transaction.body) else "superseded")
        return self._other_run(transaction, row, content)

    def _again(self, transaction: StagedTransaction, row: Record, content: bytes) -> Step:
        """This run sent it before it was stopped."""
        if row.state is State.VOIDED and self.revive:
            return Send(_unvoided(transaction.body), content)
        if row.state in (State.SENDING, State.IN_DOUBT):
            return _doubtful(transaction.body, content, row)
        return Settled()

    def _other_run(self, transaction: StagedTransaction, row: Record, content: bytes) -> Step:
        same = same_content(row, transaction.body)
        if same and not self.revive and row.state in (State.VOIDED, State.VOIDING):
            return Settled(Passed.UNCHANGED, "voided")
        if row.state in (State.SENDING, State.VOIDING, State.IN_DOUBT, State.FAILED):
            return _doubtful(transaction.body, content, row)
        if row.state is State.REFUSED:
            # The same contents would be refused again; it is this run's now, and `retry` sends it.
            return Settled(State.REFUSED) if same else Send(transaction.body, content)
        if row.state is State.VOIDED and self.revive:
            return Send(_unvoided(transaction.body), content)
        if same and row.state in ACCEPTED_BY_OMNEO - {State.MISSING}:
            return Settled(Passed.UNCHANGED)
        if same:
            return Send(transaction.body, content)
        return self._changed(transaction, row, content)

    def _changed(self, transaction: StagedTransaction, row: Record, content: bytes) -> Step:
        if self.on_change is OnChange.HOLD:
            return Settled(Passed.HELD, "held")
        if self.on_change is OnChange.SKIP:
            return Settled(Passed.UNCHANGED, "skipped")
        body = _unvoided(transaction.body) if row.state is State.VOIDED else transaction.body
        return Send(body, content, changed=True)


def _doubtful(body: bytes, content: bytes, row: Record) -> Send:
    """Send what may have been taken already."""
    # Where there were requests before the one in doubt, or it was for other contents, Omneo may have an
    # earlier version, and that may be void.
    earlier = row.attempts > 0 or row.hash != content
    return Send(_unvoided(body) if earlier else body, content, in_doubt=True, earlier=earlier)


def same_content(row: Record, body: bytes) -> bool:
    """Whether a record is about this very content.

    Older versions kept the hash of what was sent to void a transaction, not that of its staged body.
    """
    voids = {State.VOIDED, State.VOIDING, State.IN_DOUBT}
    return row.hash == content_hash(body) or (
        row.state in voids and row.hash == content_hash(with_void(body, void=True))
    )


def _unvoided(body: bytes) -> bytes:
    """The body for a transaction that may be void: one that says nothing of `is_void` would leave it so."""
    return body if is_void(body) else with_void(body, void=False)


@dataclass(frozen=True)
class Retry:
    """Send again what this run could not deliver."""

    taken: State = State.DELIVERED
    counts: bool = True
    resumes: bool = False

    def step(self, case: Case) -> Step:
        """See `Plan`."""
        _, transaction, row, progress = case
        if row is None or row.run_no != progress.run_no:
            return Ignore()
        content = content_hash(transaction.body)
        if row.state is State.REFUSED:
            return Send(transaction.body, content)
        if row.state in (State.FAILED, State.IN_DOUBT) or (
            row.state is State.SENDING and row.before in (State.REFUSED, State.FAILED)
        ):
            return _doubtful(transaction.body, content, row)
        return Ignore()


@dataclass(frozen=True)
class Resend:
    """Send again what Omneo took and does not have."""

    taken: State = State.DELIVERED
    counts: bool = False
    resumes: bool = False

    def step(self, case: Case) -> Step:
        """See `Plan`."""
        _, transaction, row, _ = case
        content = content_hash(transaction.body)
        if row is None or row.state is not State.MISSING or row.hash != content:
            return Ignore()
        return Send(transaction.body, content)


@dataclass(frozen=True)
class Void:
    """Send every delivered transaction of the run again, as void, and what was perhaps taken too.

    What a later run has updated belongs to that run and is left alone.
    """

    taken: State = State.VOIDED
    counts: bool = False
    resumes: bool = False

    def step(self, case: Case) -> Step:
        """See `Plan`."""
        _, transaction, row, progress = case
        if row is None or row.run_no != progress.run_no:
            return Ignore()
        body, content = with_void(transaction.body, void=True), row.hash
        if row.state in (State.SENDING, State.VOIDING, State.IN_DOUBT, State.FAILED):
            return Send(body, content, in_doubt=True, earlier=True)
        if row.state in ACCEPTED_BY_OMNEO - {State.VOIDED}:
            return Send(body, content)
        return Ignore()


def forgotten(plan: Plan) -> Step:
    """What becomes of a transaction whose contents were removed for its customer's sake: never a request."""
    return Settled(State.FORGOTTEN) if plan.resumes else Ignore()


def is_void(body: bytes) -> bool:
    """Whether the transaction in this body is void."""
    return b'"is_void"' in body and json.loads(body).get("is_void") is True


def with_void(body: bytes, *, void: bool) -> bytes:
    """The same transaction, void or not; every other byte stays as it was.

    A key that stands twice in JSON takes its last value; where it was there already it is replaced.
    """
    parsed: Mapping[str, Any] = json.loads(body) if b'"is_void"' in body else {}
    if "is_void" in parsed:
        return json.dumps({**parsed, "is_void": void}, ensure_ascii=False).encode()
    flag = b'"is_void":true' if void else b'"is_void":false'
    inside = body.rstrip()[:-1].rstrip()
    return inside + (b"" if inside.endswith(b"{") else b",") + flag + b"}"
