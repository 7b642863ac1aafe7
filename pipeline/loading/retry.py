"""What an answer means, and the policy of sending again, as values of tenacity.

Every reply becomes a `Verdict`. Only transient ones are retried; clock and sleep are passed in, so tests
assert the waits and never sleep.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, Final

from tenacity import AsyncRetrying, RetryCallState, retry_if_result
from tenacity.stop import stop_base
from tenacity.wait import wait_base

from pipeline.errors import StoppedByApi
from pipeline.loading.client import Answered, Reply, Unsent, Untrusted, parsed
from pipeline.loading.clock import Clock
from pipeline.privacy import mask_values

WORDS_MAX = 1000
"""Characters of the server's words that are kept with a transaction."""
_FIELDS_MAX: Final = 50
_UNRESOLVED_S: Final = 5.0  # a typing error does not pass; a name server that is away for a moment does
_SECONDS: Final = re.compile(r"[0-9]{1,9}")
_TITLE: Final = re.compile(rb"<title[^>]*>([^<]{1,200})", re.IGNORECASE)


class Meaning(StrEnum):
    """What a reply means for what was sent."""

    TAKEN = "taken"
    REFUSED = "refused"  # for good: this payload will never pass
    THROTTLED = "throttled"  # not taken; later
    TRANSIENT = "transient"  # perhaps taken; again
    FATAL = "fatal"  # it would be the same for every other transaction


@dataclass(frozen=True, slots=True)
class Verdict:
    """A reply, judged.

    Attributes:
        meaning: What it means.
        status: HTTP's status code; None where there was no answer.
        message: The server's own words in one line, or what happened on the wire; at most `WORDS_MAX`.
        fields: The server's words by field, where it said so (422).
        retry_after_s: How long the server asked to wait; None where it did not.
        in_doubt: Whether the request may have been taken although nobody said so.
    """

    meaning: Meaning
    status: int | None = None
    message: str = ""
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    retry_after_s: float | None = None
    in_doubt: bool = False

    def __post_init__(self) -> None:
        """Mask what the server says where it enters: it goes into ledger, logs, reports and errors."""
        if self.message or self.fields:
            self._mask(())

    def without(self, personal: Collection[str]) -> Verdict:
        """The same, with these values masked too: what was sent of a person, which a server may repeat."""
        if not (personal and (self.message or self.fields)):
            return self
        masked = replace(self)
        masked._mask(personal)
        return masked

    def _mask(self, personal: Collection[str]) -> None:
        object.__setattr__(self, "message", mask_values(self.message, personal))
        masked = {
            mask_values(name, personal): tuple(mask_values(each, personal) for each in said)
            for name, said in self.fields.items()
        }
        object.__setattr__(self, "fields", masked)

    @property
    def again(self) -> bool:
        """Whether sending again may help."""
        return self.meaning in (Meaning.THROTTLED, Meaning.TRANSIENT)

    def words(self) -> str:
        """Message and words by field, as JSON for the ledger; empty where nobody said anything.

        Long words are cut, and fields left out, so that it is at most `WORDS_MAX` characters.
        """
        said: dict[str, Any] = {"message": _short(self.message, 300)} if self.message else {}
        text = json.dumps(said, ensure_ascii=False) if said else ""
        for name, words in self.fields.items():
            said.setdefault("errors", {})[_short(name, 100)] = [_short(each, 200) for each in words]
            longer = json.dumps(said, ensure_ascii=False)
            if len(longer) > WORDS_MAX:
                break
            text = longer
        return text


def _short(text: str, most: int) -> str:
    return "".join(each if each.isprintable() else " " for each in text[:most])


TAKEN = Verdict(Meaning.TAKEN, 200)
ABSENT = Verdict(Meaning.REFUSED, 404, "not found")


def judge(reply: Reply, now: float, *, lookup: bool = False) -> Verdict:
    """Say what a reply means.

    Args:
        reply: From the client.
        now: Seconds since 1970, for a `Retry-After` that names a date.
        lookup: Whether one thing was asked for, so that 404 means only that it is not there.
    """
    if isinstance(reply, Answered):
        if lookup and reply.status == 404:
            return ABSENT
        if reply.status in (200, 201, 202, 204):
            return _judge_taken(reply, lookup=lookup)
        return _judge_error(reply, now)
    if isinstance(reply, Untrusted):
        return Verdict(Meaning.FATAL, message=f"TLS failed: {reply.reason}")
    return Verdict(Meaning.TRANSIENT, message=reply.reason, in_doubt=not isinstance(reply, Unsent))


def _judge_taken(reply: Answered, *, lookup: bool) -> Verdict:
    begin = reply.body[:64].lstrip()[:1]
    if begin == b"<" or (lookup and begin not in (b"{", b"[")):
        # A proxy's page, or that of a login or of maintenance: nobody said that anything was taken.
        return Verdict(
            Meaning.TRANSIENT, reply.status, f"no answer of this API: {_text(reply.body)}", in_doubt=True
        )
    return TAKEN if reply.status == 200 else Verdict(Meaning.TAKEN, reply.status)


def _judge_error(reply: Answered, now: float) -> Verdict:
    meaning = _meaning(reply.status)
    message, fields = _said(reply)
    wait = retry_after_s(reply.headers, now) if meaning in (Meaning.THROTTLED, Meaning.TRANSIENT) else None
    return Verdict(meaning, reply.status, message, fields, wait, in_doubt=reply.status >= 500)


def _meaning(status: int) -> Meaning:
    if status == 429:
        return Meaning.THROTTLED
    if status >= 500 or status in (408, 425):
        return Meaning.TRANSIENT
    # 404 and 405 speak of the address, and a redirect would carry the token elsewhere: neither is about
    # the one transaction.
    if status in (401, 403, 404, 405, 407) or status < 400:
        return Meaning.FATAL
    return Meaning.REFUSED


def _said(reply: Answered) -> tuple[str, dict[str, tuple[str, ...]]]:
    if 300 <= reply.status < 400:
        return f"a redirect to {reply.headers.get('location', 'nowhere')}", {}
    said = parsed(reply.body)
    if not isinstance(said, dict):
        return _text(reply.body), {}
    fields = words_by_field(said.get("errors"))
    message = said.get("message")
    if isinstance(message, str):
        return _line(message), fields
    return "" if fields else _text(reply.body), fields


def words_by_field(errors: object) -> dict[str, tuple[str, ...]]:
    """The server's words by field, as `errors` has them; empty where it is no object."""
    if not isinstance(errors, dict):
        return {}
    some = list(errors.items())[:_FIELDS_MAX]
    return {_short(str(name), 100): _words(said) for name, said in some}


def _words(said: object) -> tuple[str, ...]:
    each = said[:_FIELDS_MAX] if isinstance(said, list) else [said]
    return tuple(one if isinstance(one, str) else json.dumps(one)[:WORDS_MAX] for one in each)


def _text(body: bytes) -> str:
    """What a body says that is not of the documented form."""
    if body[:64].lstrip()[:1] == b"<":
        title = _TITLE.search(body[:10_000])
        return f"a web page, {_line(title[1].decode('utf-8', 'replace'))!r}" if title else "a web page"
    return _line(body[:WORDS_MAX].decode("utf-8", "replace"))


def _line(text: str) -> str:
    return " ".join(text[:WORDS_MAX].split())


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """Read `Retry-After` in either form: seconds, or an HTTP date.

    A date is taken relative to the answer's own `Date`, so that a wrong clock here does no harm.
    """
    text = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    until = _http_date(text)
    if until is None:
        return None
    since = _http_date(headers.get("date", ""))
    return max(0.0, until - (now if since is None else since))


def _http_date(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def stopped(verdict: Verdict, base_url: str) -> StoppedByApi:
    """The error for a fatal verdict, which says how to mend it."""
    said = f" It said: {verdict.message}" if verdict.message else ""
    if verdict.status is None:
        return StoppedByApi(
            f"{base_url} cannot be trusted: {verdict.message}.",
            hint="Nothing was sent. Check OMNEO_BASE_URL and this machine's certificates; "
            "there is no way to go on without TLS.",
        )
    if verdict.status in (401, 403):
        return StoppedByApi(
            f"Omneo refused the token ({verdict.status}).{said}",
            hint="Check OMNEO_TOKEN or --token-file and the token's rights, then `load` goes on.",
        )
    if verdict.status < 400:
        return StoppedByApi(
            f"{base_url} answered {verdict.status}, {verdict.message or 'which is no answer of this API'}.",
            hint="Redirects are never followed, since the token would go along. Set OMNEO_BASE_URL.",
        )
    return StoppedByApi(
        f"{base_url} has no such endpoint ({verdict.status}).{said}",
        hint="Check OMNEO_TENANT or OMNEO_BASE_URL; the address ends in /api/v3.",
    )


class Health:
    """Whether the API is up, as all requests together see it.

    Args:
        clock: Its monotonic side is used, so that clock jumps do not end a load.
        give_up_after_s: How long an outage may last.
    """

    def __init__(self, clock: Clock, give_up_after_s: float) -> None:
        self._clock = clock
        self._give_up_after_s = give_up_after_s
        self._failing_since: float | None = None
        self._unresolved = ""
        self._reached = False
        self.successes = 0

    def saw(self, verdict: Verdict, unresolved: str = "") -> None:
        """Take note of an answer: anything that is not transient shows that the API is up.

        Args:
            verdict: What it means.
            unresolved: See `client.Unsent`.
        """
        self._unresolved = unresolved
        self._reached = self._reached or verdict.status is not None
        if not verdict.again:
            self.successes += 1
            self._failing_since = None
        elif self._failing_since is None:
            self._failing_since = self._clock.monotonic()

    def outage_s(self) -> float:
        """How long there has been nothing but failures."""
        return 0.0 if self._failing_since is None else self._clock.monotonic() - self._failing_since

    def given_up(self, wait_s: float = 0.0) -> bool:
        """Whether the outage will have lasted too long after waiting for `wait_s` more."""
        patience_s = min(self._give_up_after_s, _UNRESOLVED_S) if self.unresolved else self._give_up_after_s
        return self._failing_since is not None and self.outage_s() + wait_s > patience_s

    @property
    def unresolved(self) -> str:
        """The variable whose name of a host has no address, and never had since we began; else empty."""
        return "" if self._reached else self._unresolved


@dataclass(frozen=True)
class RetryPolicy:
    """When to send again.

    Attributes:
        attempts: Tries of one transaction between which others succeed; then it has failed.
        first_wait_s: Wait after the first failure; doubles each time.
        longest_wait_s: No wait of our own is longer. A server's `Retry-After` may be.
        jitter: Share by which a wait is lengthened at random, so that retries do not come in step.
    """

    attempts: int = 8
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    jitter: float = 0.5


class wait_backing_off(wait_base):  # noqa: N801 (tenacity names its policies so)
    """Exponentially longer, with jitter; longer still where `Retry-After` asks for it, never shorter."""

    def __init__(self, policy: RetryPolicy, random_share: Callable[[], float] = random.random) -> None:
        self._policy = policy
        self._random_share = random_share

    def __call__(self, state: RetryCallState) -> float:
        """Seconds to wait after this attempt."""
        doubled = self._policy.first_wait_s * 2 ** min(state.attempt_number - 1, 30)
        lengthened = 1 + self._policy.jitter * self._random_share()
        own: float = min(doubled, self._policy.longest_wait_s) * lengthened
        return max(own, verdict_of(state).retry_after_s or 0.0)


class stop_when_alone(stop_base):  # noqa: N801
    """Stop after so many attempts between which the API answered others: then it is this transaction.

    What failed in an outage, with all others, does not count.
    """

    def __init__(self, policy: RetryPolicy, health: Health) -> None:
        self._attempts = policy.attempts
        self._health = health
        self._before = health.successes
        self._alone = 1  # attempts; the first failure is nobody's outage yet

    def __call__(self, state: RetryCallState) -> bool:
        """Whether to stop after this attempt."""
        self._alone += state.attempt_number > 1 and self._health.successes > self._before
        self._before = self._health.successes
        return self._alone >= self._attempts and not _throttled(state)


class stop_after_outage(stop_base):  # noqa: N801
    """Stop once the outage is, or after the wait that was asked for will be, longer than allowed."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def __call__(self, state: RetryCallState) -> bool:
        """Whether to stop after this attempt."""
        return self._health.given_up(verdict_of(state).retry_after_s or 0.0)


def verdict_of(state: RetryCallState) -> Verdict:
    """The verdict of the attempt that tenacity asks about."""
    if state.outcome is None:
        raise TypeError("tenacity asked about an attempt that was not made")
    verdict: Verdict = state.outcome.result()
    return verdict


def _throttled(state: RetryCallState) -> bool:
    return verdict_of(state).meaning is Meaning.THROTTLED


def retrying(
    policy: RetryPolicy,
    health: Health,
    before_sleep: Callable[[RetryCallState], Awaitable[None]],
    sleep: Callable[[float], Awaitable[None]],
) -> AsyncRetrying:
    """The policy for one transaction: call it with a function that makes an attempt.

    It returns the last verdict; a transient one means that the policy gave up.
    """
    return AsyncRetrying(
        retry=retry_if_result(lambda verdict: verdict.again),
        wait=wait_backing_off(policy),
        stop=stop_when_alone(policy, health) | stop_after_outage(health),
        sleep=sleep,
        before_sleep=before_sleep,
        retry_error_callback=verdict_of,
    )
