"""What an answer means: a yes of the documented shape, a no, later, or nothing that can be relied on.

From the public reference: the queue answers `{"data": "OK"}`, a batch `{"message", "batch_id"}`, and
`update-create` and the query the transaction itself. Everything else that comes with a 2xx is *unclear*.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, Final

from pipeline.core.errors import StoppedByApi
from pipeline.core.text.privacy import mask_values
from pipeline.loading.http.client import Answered, Reply, Unsent, Untrusted

MESSAGE_MAX = 1000
"""Characters of the server's message that are kept with a transaction."""
_FIELDS_MAX: Final = 50
"""Fields of one answer whose messages are kept; further ones repeat the same for every item."""
_ID_MAX: Final = 200
"""Most characters of an id that is kept; anything longer is taken for a text."""
_READ_MAX: Final = 20_000
"""Most bytes of a body that are read as text: a page has its title further on than a message is long."""
_SECONDS: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_ERROR_CODE: Final = re.compile(r"[45][0-9]{2}")
_TITLE: Final = re.compile(r"<title[^>]*>([^<]{1,200})", re.IGNORECASE)
_BYTE_ORDER_MARKS: Final = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_NOT_A_YES: Final = frozenset({"error", "errors", "fail", "failed", "failure"})
"""What `status` says in an envelope whose `data` is about an error."""


class Meaning(StrEnum):
    """What a reply means for what was sent."""

    TAKEN = "taken"  # a yes of the documented shape
    REFUSED = "refused"  # for good: this payload will never pass
    THROTTLED = "throttled"  # not taken; later
    TRANSIENT = "transient"  # may have been taken, or only not yet: it is sent again
    UNCLEAR = "unclear"  # answered, but neither yes nor no; perhaps taken
    FATAL = "fatal"  # it would be the same for every other transaction


class Expected(StrEnum):
    """The shape of a yes to a request."""

    QUEUED = "queued"  # an object with `data`
    BATCHED = "batched"  # an object with `batch_id`
    WRITTEN = "written"  # the transaction that was sent
    FOUND = "found"  # what was asked for by its id; 404 says that it is not there
    LISTED = "listed"  # rows, with or without the envelope `data`; 404 as above


@dataclass(frozen=True, slots=True)
class ReplyVerdict:
    """A reply, judged.

    Attributes:
        meaning: What it means.
        status: HTTP's status code; None where there was no answer.
        message: The server's own message in one line, or why there was no answer; at most `MESSAGE_MAX`.
        fields: The server's messages by field, if it gave any (422).
        retry_after_s: How long the server asked to wait; None where it did not.
        in_doubt: Whether the request may have been taken although no answer says so.
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

    def without(self, personal: Collection[str]) -> ReplyVerdict:
        """The same, with these values masked too: personal data of the request that a server may repeat."""
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

    def as_json(self) -> str:
        """The messages, as JSON for the ledger; empty if there are none.

        Long messages are cut, and fields left out, so that it has at most `MESSAGE_MAX` characters.
        """
        said: dict[str, Any] = {"message": _short(self.message, 300)} if self.message else {}
        text = json.dumps(said, ensure_ascii=False) if said else ""
        for name, messages in self.fields.items():
            said.setdefault("errors", {})[_short(name, 100)] = [_short(each, 200) for each in messages]
            longer = json.dumps(said, ensure_ascii=False)
            if len(longer) > MESSAGE_MAX:
                break
            text = longer
        return text


def _short(text: str, most: int) -> str:
    return "".join(each if each.isprintable() else " " for each in text[:most])


TAKEN = ReplyVerdict(Meaning.TAKEN, 200)
ABSENT = ReplyVerdict(Meaning.REFUSED, 404, "not found")


def judge(reply: Reply, now: float, expected: Expected, external_id: str | None = None) -> ReplyVerdict:
    """Say what a reply means.

    Args:
        reply: From the client.
        now: Seconds since 1970, for a `Retry-After` that names a date.
        expected: The shape of a yes.
        external_id: Of the transaction that was sent or asked for; another one in the answer is no yes.
    """
    if isinstance(reply, Answered):
        asked = expected in (Expected.FOUND, Expected.LISTED)
        # A 404 with a web page comes from a proxy or a wrong address, not from the API.
        if asked and reply.status == 404 and not _is_page(_readable(reply.body)):
            return ABSENT
        if 200 <= reply.status < 300:
            return _judge_success(reply, expected, external_id)
        return _judge_error(reply, now)
    if isinstance(reply, Untrusted):
        return ReplyVerdict(Meaning.FATAL, message=f"TLS failed: {reply.reason}")
    return ReplyVerdict(Meaning.TRANSIENT, message=reply.reason, in_doubt=not isinstance(reply, Unsent))


def _judge_success(reply: Answered, expected: Expected, external_id: str | None) -> ReplyVerdict:
    said = reply.json
    if _is_yes(said, expected, external_id):
        return ReplyVerdict(Meaning.TAKEN, reply.status)
    if expected is Expected.FOUND and transaction_in(said, None) is not None:
        # Another transaction than the one that was asked for.
        return ABSENT
    message = said.get("message") if isinstance(said, dict) else None
    text = _line(message) if isinstance(message, str) else _text(reply.body)
    reason = f"no answer of this API: {text or 'an empty body'}"
    return ReplyVerdict(Meaning.UNCLEAR, reply.status, reason, in_doubt=True)


def _is_yes(said: Any, expected: Expected, external_id: str | None) -> bool:
    if expected is Expected.LISTED and isinstance(said, list):
        return True
    if not isinstance(said, dict) or _reports_error(said):
        return False
    match expected:
        case Expected.QUEUED:
            return _is_yes_of_queue(said.get("data"))
        case Expected.BATCHED:
            return batch_id_in(said) is not None
        case Expected.WRITTEN:
            # An id alone may belong to anything, so without the sale's external id a query decides. It also
            # decides if a status says "failed": that may be the request's status or the sale's own.
            written = transaction_in(said, external_id)
            return written is not None and written.get("external_id") is not None and not _failed(written)
        case Expected.FOUND:
            return bool(said) if external_id is None else transaction_in(said, external_id) is not None
        case Expected.LISTED:
            return "data" in said


def _is_yes_of_queue(data: Any) -> bool:
    """Whether `data` is a yes: neither a word nor a list of results that says otherwise."""
    results = data if isinstance(data, list) else [data]
    if any(isinstance(each, dict) and (_reports_error(each) or _failed(each)) for each in results):
        return False
    return bool(data) and str(data).lower() not in _NO


def _reports_error(said: Mapping[str, Any]) -> bool:
    """Whether an object, or the `data` in it, is about an error."""
    inner = said.get("data")
    if isinstance(inner, dict) and (inner.get("error") or inner.get("errors") or denies(inner)):
        return True
    status = said.get("status")
    is_failure = isinstance(status, str) and "data" in said and status.lower() in _NOT_A_YES
    is_code = any(_is_error_code(said.get(name)) for name in ("status", "code", "status_code", "statusCode"))
    return bool(said.get("error") or said.get("errors") or denies(said) or is_failure or is_code)


def _failed(result: Mapping[str, Any]) -> bool:
    """Whether a result says by its status or its counts that something was not taken."""
    counts = [count_of(result.get(name)) for name in _COUNTS_OF_FAILURES]
    return str(result.get("status")).lower() in _NOT_A_YES or any(counts)


_COUNTS_OF_FAILURES: Final = ("failed_count", "failed", "failures", "error_count", "errors_count", "rejected")
"""As the result of a batch has them, and as other back-ends call them."""


def count_of(value: Any) -> int | None:
    """A count, which some servers write as a text; None where it is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and len(value) < 10 and value.isdecimal() else None


def _is_error_code(value: Any) -> bool:
    """Whether a value is an HTTP status of an error."""
    return bool(_ERROR_CODE.fullmatch(str(value)))


def denies(said: Mapping[str, Any]) -> bool:
    """Whether there is a `success` or an `ok` that is not true."""
    return any(name in said and str(said[name]).lower() in _NO for name in ("success", "ok"))


_NO: Final = frozenset({"false", "0", "none", "no", ""}) | _NOT_A_YES


def batch_id_in(said: Mapping[str, Any]) -> str | None:
    """The id of a batch in the answer to it, with or without the envelope `data`; None without one."""
    inner = said.get("data")
    return kept_id(said.get("batch_id") or (inner.get("batch_id") if isinstance(inner, dict) else None))


def kept_id(value: Any) -> str | None:
    """An id that the server gives, if it can be kept: half a character, or a page of text, is none."""
    text = str(value)
    return text if _is_id(value) and text.isprintable() and len(text) <= _ID_MAX else None


def transaction_in(said: Any, external_id: str | None) -> Mapping[str, Any] | None:
    """The transaction in an answer, with or without the envelope `data`; None without one.

    One with another external id is not the one that was sent or asked for.
    """
    if not isinstance(said, dict) or _reports_error(said):
        return None
    inner = said.get("data", said)
    if not isinstance(inner, dict) or not (_is_id(inner.get("id")) or _is_id(inner.get("external_id"))):
        return None
    named = inner.get("external_id")
    return inner if external_id is None or named is None or str(named) == external_id else None


def _is_id(value: Any) -> bool:
    """Whether a value names something: `false`, an empty text or an object does not."""
    return isinstance(value, str | int) and not isinstance(value, bool) and bool(str(value).strip())


def transaction_of(reply: Reply, external_id: str) -> Mapping[str, Any] | None:
    """The transaction in a reply; see `transaction_in`."""
    if not isinstance(reply, Answered) or not 200 <= reply.status < 300:
        return None
    return transaction_in(reply.json, external_id)


def _judge_error(reply: Answered, now: float) -> ReplyVerdict:
    meaning = _meaning(reply.status)
    message, fields = _said(reply)
    wait = retry_after_s(reply.headers, now) if meaning in (Meaning.THROTTLED, Meaning.TRANSIENT) else None
    # What answers with a redirect may have taken the request.
    in_doubt = reply.status >= 500 or 300 <= reply.status < 400
    return ReplyVerdict(
        meaning, reply.status, message=message, fields=fields, retry_after_s=wait, in_doubt=in_doubt
    )


def _meaning(status: int) -> Meaning:
    if status == 429:
        return Meaning.THROTTLED
    # 423 is a resource locked by other work at the moment.
    if status >= 500 or status in (408, 423, 425):
        return Meaning.TRANSIENT
    # 404 and 405 mean a wrong address, and a redirect would carry the token elsewhere: neither is about one
    # transaction.
    if status in (401, 403, 404, 405, 407) or status < 400:
        return Meaning.FATAL
    return Meaning.REFUSED


def _said(reply: Answered) -> tuple[str, dict[str, tuple[str, ...]]]:
    if 300 <= reply.status < 400:
        return f"a redirect to {reply.headers.get('location', 'nowhere')}", {}
    said = reply.json
    if not isinstance(said, dict):
        return _text(reply.body), {}
    fields = messages_by_field(said.get("errors"))
    message = said.get("message")
    if isinstance(message, str):
        return _line(message), fields
    return "" if fields else _text(reply.body), fields


def messages_by_field(errors: object) -> dict[str, tuple[str, ...]]:
    """The server's messages by field, as `errors` has them; empty if it is not an object."""
    if not isinstance(errors, dict):
        return {}
    some = list(errors.items())[:_FIELDS_MAX]
    return {_short(str(name), 100): _texts(said) for name, said in some}


def _texts(said: object) -> tuple[str, ...]:
    each = said[:_FIELDS_MAX] if isinstance(said, list) else [said]
    return tuple(one if isinstance(one, str) else json.dumps(one, default=str)[:MESSAGE_MAX] for one in each)


def _readable(body: bytes) -> str:
    """The first part of a body as text, whatever its encoding."""
    start = body[:_READ_MAX]
    for mark, encoding in _BYTE_ORDER_MARKS:
        if start.startswith(mark):
            return start.removeprefix(mark).decode(encoding, "replace")
    # UTF-16 without a mark has a zero byte beside every letter of its tags.
    encoding = "utf-16-le" if start[1:2] == b"\0" else "utf-16-be" if start[:1] == b"\0" else "utf-8"
    return start.decode(encoding, "replace")


def _is_page(text: str) -> bool:
    return text.lstrip("\ufeff \t\r\n").startswith("<")


def _text(body: bytes) -> str:
    """What a body says that is not of the documented form."""
    text = _readable(body)
    if _is_page(text):
        title = _TITLE.search(text)
        return f"a web page, {_line(title[1])!r}" if title else "a web page"
    return _line(text)


def _line(text: str) -> str:
    return " ".join(text[:MESSAGE_MAX].split())


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """Read `Retry-After` in either form: seconds, which some servers give with a fraction, or an HTTP date.

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
    except (ValueError, TypeError, OverflowError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def stopped(verdict: ReplyVerdict, base_url: str) -> StoppedByApi:
    """The error for a fatal verdict, which says how to fix it."""
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
    if verdict.status == 407:
        return StoppedByApi(
            f"A proxy before {base_url} wants to know who asks (407).{said}",
            hint="Give HTTPS_PROXY its user and password, or except Omneo with NO_PROXY.",
        )
    if verdict.status in (404, 405):
        return StoppedByApi(
            f"{base_url} has no such endpoint ({verdict.status}).{said}",
            hint="Check OMNEO_TENANT or OMNEO_BASE_URL; the address ends in /api/v3.",
        )
    return StoppedByApi(
        f"{base_url} answered {verdict.status}, {verdict.message or 'which is no answer of this API'}.",
        hint="Redirects are never followed, since the token would go along. Set OMNEO_BASE_URL.",
    )
