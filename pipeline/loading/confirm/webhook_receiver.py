"""Receiving Omneo's webhooks: proof that a queued transaction was worked off.

`transaction.created` and `transaction.updated` carry the transaction's context and, in
`X-Omneo-Hmac-SHA256`, the hex HMAC-SHA256 of the raw body. Where the event's name stands is not documented,
so it is looked for in headers and in the body; an event of another name confirms nothing, one without a name
is taken for one of the two. Whether a body may hold several events is not documented either: a list is taken
for so many events.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from typing import Any, Final, NamedTuple

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from pipeline.core.clock import Clock, SystemClock
from pipeline.core.errors import ImportToolError, SettingsError
from pipeline.core.events import Emit, Notice, Progress, ignore
from pipeline.core.settings import Secret
from pipeline.loading.confirm.same_sale import decimal_of, is_void
from pipeline.loading.http.strict_json import parsed
from pipeline.loading.ledger.entries import Record, State
from pipeline.loading.ledger.group_commit import GroupCommit
from pipeline.loading.ledger.ledger import SqlLedger

SIGNATURE_HEADER: Final = "X-Omneo-Hmac-SHA256"
_BODY_MAX: Final = 4 * 1024 * 1024
# A sender that stalls must not keep its connection for ever.
_BODY_S: Final = 30.0
# Events that arrive before the ledger has their delivery: a limit, so that memory stays bounded.
_EARLY_MAX: Final = 100_000
_EARLY_EVERY_S: Final = 1.0
# At its end the server waits this long for events that are still coming in.
_GRACE_S: Final = 5


def webhook_app(
    ledger: SqlLedger, secret: Secret, *, emit: Emit = ignore, clock: Clock | None = None
) -> Starlette:
    """The receiver as an ASGI app: POST to any path.

    It answers 200 once the confirmation is on disk (commits are grouped), 401 for a wrong signature, 408
    where the body does not come whole, and 503 where the ledger cannot be written, so that the event is sent
    again. An event that comes twice, late, or for a transaction that is not in the ledger changes nothing.
    One that overtakes the answer to its own request waits in memory until that is recorded.

    Args:
        ledger: Used from one thread of the app's, until it shuts down.
        secret: Shared with Omneo.
        emit: Gets refused events and progress.
        clock: Time between looks at what came early.
    """
    receiver = _Receiver(ledger, secret, emit, clock or SystemClock())
    return Starlette(
        routes=[Route("/{path:path}", receiver.receive, methods=["POST"])], lifespan=receiver.lifespan
    )


def listen(
    ledger: SqlLedger,
    secret: Secret,
    *,
    host: str = "127.0.0.1",
    port: int = 8787,
    emit: Emit = ignore,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Receive webhooks until SIGINT or SIGTERM. Bound to loopback by default: put TLS before it.

    Args:
        ledger: As for `webhook_app`.
        secret: Shared with Omneo.
        host: Address to bind.
        port: 0 for a free one.
        emit: As for `webhook_app`.
        on_ready: Is called with the address once it answers.

    Raises:
        SettingsError: The address cannot be used.
    """
    config = uvicorn.Config(
        webhook_app(ledger, secret, emit=emit),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    with _listener(host, port) as listener:
        _Server(config, on_ready).run(sockets=[listener])


def _listener(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        unnamed = socket.create_server((str(address[0]), port), family=family, backlog=2048)
        # asyncio sends answers at once (TCP_NODELAY) only on connections of a socket that names its protocol.
        return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=unnamed.detach())
    except OSError as error:
        raise SettingsError(
            f"--host {host} --port {port} cannot be listened on: {error.strerror or error}.",
            hint="Choose another --port, or 0 for a free one.",
        ) from None


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[str], None] | None) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._on_ready is not None and self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            self._on_ready(f"http://{f'[{host}]' if ':' in host else host}:{port}/")


class _Receiver:
    def __init__(self, ledger: SqlLedger, secret: Secret, emit: Emit, clock: Clock) -> None:
        self._ledger = ledger
        self._secret = secret
        self._emit = emit
        self._clock = clock
        self._early: dict[str, Sighting] = {}
        self._received = 0

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self._seen: GroupCommit[Sighting] = GroupCommit(lambda seen: lambda: self._confirm(seen))
        again = asyncio.create_task(self._look_again())
        try:
            yield
        finally:
            again.cancel()
            with suppress(asyncio.CancelledError):
                await again
            self._seen.close()

    async def receive(self, request: Request) -> Response:
        try:
            async with asyncio.timeout(_BODY_S):
                body = await _limited(request)
        except (TimeoutError, ClientDisconnect):
            return Response(status_code=408)
        if body is None:
            return Response(status_code=413)
        if not self._is_genuine(body, request.headers.get(SIGNATURE_HEADER, "")):
            self._emit(Notice("webhook_refused", "An event with a wrong signature was refused."))
            return Response(status_code=401)
        seen = sightings(body, request.headers)
        if not seen:
            return Response(status_code=200)
        try:
            await self._seen.put(seen)
        except ImportToolError as error:
            self._emit(Notice("webhook_not_recorded", error.message))
            return Response(status_code=503)
        self._received += len(seen)
        self._emit(Progress("listen", self._received))
        return Response(status_code=200)

    def _is_genuine(self, body: bytes, signature: str) -> bool:
        expected = hmac.new(self._secret.reveal().encode(), body, hashlib.sha256).hexdigest()
        # As bytes: compare_digest refuses text that is not ASCII.
        return hmac.compare_digest(expected.encode(), signature.strip().lower().encode())

    def _confirm(self, sightings: list[Sighting]) -> None:
        """In the ledger's thread: mark delivered transactions, keep events of unfinished ones for later."""
        latest = {each.external_id: each for each in sightings}
        found = self._ledger.find(list(latest))
        seen = [
            (record, State.CONFIRMED)
            for name, record in found.items()
            if record.state in _CONFIRMABLE and _is_as_sent(latest[name], record)
        ]
        self._ledger.mark(seen)
        on_their_way = [latest[name] for name, record in found.items() if record.state is State.SENDING]
        self._early.update({each.external_id: each for each in on_their_way[: _EARLY_MAX - len(self._early)]})

    async def _look_again(self) -> None:
        while True:
            await self._clock.sleep(_EARLY_EVERY_S)
            early, self._early = list(self._early.values()), {}
            if early:
                with suppress(ImportToolError):
                    await self._seen.put(early)


_CONFIRMABLE: Final = frozenset({State.DELIVERED, State.MISSING})


def _is_as_sent(seen: Sighting, record: Record) -> bool:
    """Whether an event has the total that was sent; true where one of them has no total."""
    return seen.total is None or record.total is None or seen.total == decimal_of(record.total)


async def _limited(request: Request) -> bytes | None:
    """The raw body; None where it is too long to be an event."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _BODY_MAX:
            return None
    return body


class Sighting(NamedTuple):
    """A sale that Omneo says it has.

    Attributes:
        external_id: Which.
        total: As Omneo has it; None where the event does not say.
    """

    external_id: str
    total: Decimal | None


_WORKED_OFF: Final = frozenset({"transaction.created", "transaction.updated"})
_NAME_FIELDS: Final = frozenset({"event", "trigger", "topic", "eventtype", "eventname", "webhook"})
"""Last words of fields and headers in which other systems have an event's name."""
_VERB_FIELDS: Final = frozenset({"action", "verb", "operation"})
_KIND_FIELDS: Final = frozenset({"resource", "resourcetype", "object", "objecttype", "entity", "entitytype"})
_ABOUT_A_TRANSACTION: Final = re.compile(r"transactions?\.[a-z_-]+")
"""A value that is the name of an event wherever it stands."""
_ABOUT_ANYTHING: Final = re.compile(r"[a-z_-]+\.[a-z_-]*ed")
"""A value that is one as a name or a type; a person's handle may look like it elsewhere."""
_ENVELOPES: Final = ("data", "transaction", "transactions", "payload", "events", "event", "attributes")
"""Fields in which a sale, or several events, may stand."""
_DEPTH_MAX: Final = 5
_ID_MAX: Final = 1000


def sightings(body: bytes, headers: Mapping[str, str]) -> list[Sighting]:
    """The sales that a body says were worked off; none where it is about anything else, or malformed.

    A sale that another event of the same body says is void or gone is left out.

    Args:
        body: One event or a list of them: transactions' contexts, with or without envelopes around them.
        headers: Of the request.
    """
    own = {name: value for name, value in headers.items() if name.lower().startswith("x-")}
    events = list(_events(parsed(body), is_worked_off=_are_right(_names(own)), depth=0))
    refuted = {external_id for external_id, seen in events if seen is None}
    return [seen for external_id, seen in events if seen is not None and external_id not in refuted]


def _events(said: Any, *, is_worked_off: bool, depth: int) -> Iterator[tuple[str, Sighting | None]]:
    """The external id of each sale, and the sighting; None where the event does not say that it is there."""
    if depth > _DEPTH_MAX:
        return
    if isinstance(said, list):
        for each in said:
            yield from _events(each, is_worked_off=is_worked_off, depth=depth + 1)
    elif isinstance(said, dict):
        is_worked_off = is_worked_off and _are_right(_names(said)) and not _is_gone(said)
        if said.get("external_id") is not None:
            yield str(said["external_id"]), _of_context(said) if is_worked_off else None
            return
        for name in _ENVELOPES:
            yield from _events(said.get(name), is_worked_off=is_worked_off, depth=depth + 1)


def _of_context(context: Mapping[str, Any]) -> Sighting | None:
    external_id = str(context["external_id"])
    # The database cannot hold such an id, and it must not make the other events of this body fail.
    odd = "\0" in external_id or not external_id or len(external_id) > _ID_MAX or _has_surrogates(external_id)
    total = decimal_of(context.get("total"))
    # A total that is no number is surely not the one that was sent.
    is_other = context.get("total") is not None and total is None
    if odd or is_other or is_void(context):
        return None
    return Sighting(external_id, total)


_GONE: Final = ("deleted", "voided", "void", "cancelled", "canceled")


def _is_gone(context: Mapping[str, Any]) -> bool:
    """Whether a sale is void or deleted by another field than `is_void`."""
    flags = (
        f"{before}{word}{after}" for word in _GONE for before, after in (("", "_at"), ("is_", ""), ("", ""))
    )
    said = any(str(context.get(name) or "false").lower() not in ("0", "false") for name in flags)
    return said or str(context.get("status")).lower() in _GONE


def _are_right(names: Iterable[str]) -> bool:
    return _WORKED_OFF.issuperset(names)


def _names(said: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """Names of the event that fields or headers give, in lower case, with a dot.

    One that has only a part of its name in a field gets the other part of one that confirms.
    """
    is_sale = "external_id" in said
    for field, value in said.items():
        *_, last = words = re.split("[-_]", field.lower())
        lasts = {last, "".join(words[-2:])}
        if isinstance(value, dict):
            # An object inside a sale is about its customer, its order and so on, not about the event.
            if depth < _DEPTH_MAX and (not is_sale or lasts & _NAME_FIELDS or field in _ENVELOPES):
                yield from _names(value, depth + 1)
            value = (value.get("name") or value.get("trigger")) if lasts & _NAME_FIELDS else None
        if not isinstance(value, str):
            continue
        # Some systems write `transaction:created` or `transaction/created`.
        text = re.sub("[:/]", ".", value.strip().lower())
        if _ABOUT_A_TRANSACTION.fullmatch(text) or lasts & _NAME_FIELDS:
            yield text
        elif lasts & _VERB_FIELDS:
            # The verb may be `create` as well as `created`.
            yield f"transaction.{text.removesuffix('d').removesuffix('e')}ed"
        elif lasts & _KIND_FIELDS:
            yield f"{text.removesuffix('s')}.created"
        elif last in ("type", "name") and _ABOUT_ANYTHING.fullmatch(text):
            yield text


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= each <= "\udfff" for each in text)
