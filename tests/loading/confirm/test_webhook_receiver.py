from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from pipeline.core.errors import SettingsError
from pipeline.core.events import Event, Notice
from pipeline.core.settings import Connection, Secret
from pipeline.loading.confirm.webhook_receiver import SIGNATURE_HEADER, listen, webhook_app
from pipeline.loading.delivery.loader import deliver
from pipeline.loading.ledger.entries import State
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.simulator import SimulatorSettings
from pipeline.testing import local_omneo
from tests.loading.tenant import Tenant, batches_of, load, made, run_of
from tests.sockets import sends_at_once

SECRET = "shared-secret"
SOME = [made(n) for n in range(20)]
RUN = run_of("r1", SOME)


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    return {SIGNATURE_HEADER: hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


def event(name: str, **more: Any) -> bytes:
    return json.dumps({"id": 1, "external_id": name, "total": 1, **more}).encode()


def post(
    ledger: SqlLedger, *events: tuple[bytes, dict[str, str]], emit: Callable[[Event], None] = print
) -> list[int]:
    """Send events to the app without a socket; returns the statuses."""

    async def main() -> list[int]:
        app = webhook_app(ledger, Secret(SECRET), emit=emit)
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                answers = [
                    await client.post("/hook", content=body, headers=headers) for body, headers in events
                ]
        return [answer.status_code for answer in answers]

    return asyncio.run(main())


@pytest.fixture
def delivered(ledger: SqlLedger) -> SqlLedger:
    load(ledger, RUN, SOME, Tenant())
    return ledger


def state(ledger: SqlLedger, name: str) -> str:
    return str(ledger.find([name])[name].state)


def test_a_genuine_event_confirms(delivered: SqlLedger) -> None:
    body = event("T000003")
    assert post(delivered, (body, signed(body))) == [200]
    assert state(delivered, "T000003") == "confirmed"
    assert delivered.status("r1").confirmed == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {SIGNATURE_HEADER: ""},
        {SIGNATURE_HEADER: "0" * 64},
        {SIGNATURE_HEADER: "ü"},
        signed(b"other"),
        signed(event("T000003"), "guess"),
    ],
)
def test_anything_else_is_refused(delivered: SqlLedger, headers: dict[str, str]) -> None:
    emitted: list[Event] = []
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    assert post(delivered, (event("T000003"), encoded), emit=emitted.append) == [401]  # type: ignore[arg-type]
    assert state(delivered, "T000003") == "delivered"
    assert [each.code for each in emitted if isinstance(each, Notice)] == ["webhook_refused"]


def test_replays_and_strangers_change_nothing(delivered: SqlLedger) -> None:
    known, unknown, other = event("T000003"), event("never-sent"), b'["no transaction"]'
    events = [known, known, unknown, other, b'{"external_id": null}', b"not json", known]
    assert set(post(delivered, *((body, signed(body)) for body in events))) == {200}
    assert delivered.status("r1").confirmed == 1


def test_a_voided_or_refused_one_is_not_confirmed(delivered: SqlLedger) -> None:
    row = delivered.find(["T000003"])["T000003"]
    delivered.record([row._replace(state=State.REFUSED)])
    body = event("T000003")
    assert post(delivered, (body, signed(body))) == [200]
    assert state(delivered, "T000003") == "refused"


def test_an_event_that_overtakes_the_answer_is_kept(delivered: SqlLedger, tmp_path: Path) -> None:
    row = delivered.find(["T000003"])["T000003"]
    delivered.record([row._replace(state=State.SENDING)])
    body = event("T000003")

    async def main() -> None:
        app = webhook_app(delivered, Secret(SECRET))
        async with app.router.lifespan_context(app):
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://here"
            ) as client:
                await client.post("/", content=body, headers=signed(body))
            with SqlLedger(tmp_path / "ledger.db") as loader:
                assert loader.find(["T000003"])["T000003"].state is State.SENDING
                loader.record([row])
            await asyncio.sleep(1.3)

    asyncio.run(main())
    assert state(delivered, "T000003") == "confirmed"


def test_what_cannot_be_recorded_is_asked_for_again(delivered: SqlLedger) -> None:
    delivered.connection.exec_driver_sql("PRAGMA query_only = 1")
    delivered.connection.commit()
    body = event("T000003")
    assert post(delivered, (body, signed(body))) == [503]


def test_an_endless_body_is_refused(delivered: SqlLedger) -> None:
    assert post(delivered, (b"x" * (5 << 20), {})) == [413]


@contextmanager
def listening(ledger: SqlLedger) -> Iterator[str]:
    """The app on a real socket."""
    config = uvicorn.Config(webhook_app(ledger, Secret(SECRET)), port=0, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()


@pytest.mark.slow
def test_webhooks_late_twice_or_never_confirm_what_they_name(tmp_path: Path) -> None:
    some = [made(n) for n in range(100)]
    faults = {"webhook_twice_share": 0.3, "webhook_never_share": 0.2, "job_delay_s": 0.0, "job_jitter_s": 0.2}
    with SqlLedger(tmp_path / "ledger.db") as hook_ledger, listening(hook_ledger) as url:
        settings = SimulatorSettings(webhook_url=url, webhook_secret=SECRET)
        with local_omneo(settings, **faults) as omneo, SqlLedger(tmp_path / "ledger.db") as ledger:
            run = run_of("r1", some)
            deliver(run, batches_of(some), Connection(omneo.base_url, Secret(omneo.token)), ledger)
            omneo.drain()
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                hooks = omneo.stats()["webhooks"]
                if not hooks["pending"] and ledger.status("r1").confirmed == 100 - hooks["withheld"]:
                    break
                time.sleep(0.1)
            assert hooks["failed"] == 0
            assert hooks["withheld"] > 0
            assert ledger.status("r1").confirmed == 100 - hooks["withheld"]


LISTENING = """
import sys
from pathlib import Path
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.loading.confirm.webhook_receiver import listen
from pipeline.core.settings import Secret
with SqlLedger(Path(sys.argv[1])) as ledger:
    listen(ledger, Secret("shared-secret"), port=0, on_ready=lambda url: print(url, flush=True))
"""


def test_an_address_that_is_taken_is_a_setting_to_mend(delivered: SqlLedger) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"--port {port} cannot be listened on"):
            listen(delivered, Secret("s"), port=port)


@pytest.mark.slow
def test_it_runs_until_a_signal(delivered: SqlLedger, tmp_path: Path) -> None:
    command = [sys.executable, "-c", LISTENING, str(tmp_path / "ledger.db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        body = event("T000004")
        assert httpx.post(url, content=body, headers=signed(body), trust_env=False).status_code == 200
        process.send_signal(signal.SIGTERM)
        process.wait(10)
    assert state(delivered, "T000004") == "confirmed"


@pytest.fixture
def interruptible() -> Iterator[None]:
    """An interrupt ends what runs, also where tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_answers_go_out_at_once(delivered: SqlLedger) -> None:
    seen: list[bool] = []

    def look(url: httpx.URL) -> None:
        try:
            with socket.create_connection((url.host, url.port)) as connection:
                connection.sendall(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\n\r\n")
                assert connection.recv(4096).startswith(b"HTTP/1.1 401")
                seen.append(sends_at_once(connection))
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    def ready(url: str) -> None:
        threading.Thread(target=look, args=[httpx.URL(url)]).start()

    with pytest.raises(KeyboardInterrupt):
        listen(delivered, Secret(SECRET), port=0, on_ready=ready)
    assert seen == [True]


EVENT_HEADERS = ("X-Omneo-Event", "X-Omneo-Topic", "X-Webhook-Trigger")


@pytest.mark.parametrize(
    "name", ["transaction.deleted", "transaction.voided", "profile.created", "TRANSACTION.DELETED"]
)
def test_an_event_of_another_name_confirms_nothing(delivered: SqlLedger, name: str) -> None:
    context = json.loads(event("T000003"))
    bodies = [
        json.dumps(said).encode()
        for said in (
            {"event": name, "data": context},
            {"trigger": name, **context},
            {"topic": name, "payload": context},
            {"type": name, "transaction": context},
            {"webhook": {"trigger": name}, "data": context},
        )
    ]
    events = [(body, signed(body)) for body in bodies]
    plain = event("T000003")
    events += [(plain, {**signed(plain), header: name}) for header in EVENT_HEADERS]
    assert set(post(delivered, *events)) == {200}
    assert state(delivered, "T000003") == "delivered"


@pytest.mark.parametrize("name", ["transaction.created", "transaction.updated", "Transaction.Updated"])
def test_an_event_of_the_right_name_confirms_wherever_it_stands(delivered: SqlLedger, name: str) -> None:
    body = json.dumps({"event": name, "data": json.loads(event("T000003"))}).encode()
    plain = event("T000004")
    post(delivered, (body, signed(body)), (plain, {**signed(plain), "X-Omneo-Event": name}))
    assert (state(delivered, "T000003"), state(delivered, "T000004")) == ("confirmed", "confirmed")


def sale(name: str, **more: Any) -> dict[str, Any]:
    return {"id": 1, "external_id": name, "total": 1, **more}


@pytest.mark.slow
@pytest.mark.parametrize(
    "said",
    [
        [sale("T000003"), sale("T000004")],
        [{"event": "transaction.created", "data": sale("T000003")}, {"data": sale("T000004")}],
        {"event": "transaction.updated", "data": [sale("T000003"), sale("T000004")]},
        {"events": [{"event": "transaction.created", "data": sale(f"T{n:06d}")} for n in (3, 4)]},
        {"payload": {"transactions": [sale("T000003"), sale("T000004")]}},
        [sale("T000003"), "neither", 7, None, {}, [sale("T000004")]],
        [sale("T000003"), sale("T000005", is_void=True), sale("T000004")],
        [sale("T000003"), {"event": "transaction.deleted", "data": sale("T000005")}, sale("T000004")],
        [sale("T000003"), sale("T000005"), sale("T000005", deleted_at="2024-01-01"), sale("T000004")],
        [sale("T000003"), sale("a\x00b"), sale("never-sent"), sale("T000004")],
        {"data": {"id": "7", "type": "transactions", "attributes": [sale("T000003"), sale("T000004")]}},
    ],
)
def test_a_body_may_hold_several_events_each_judged_by_itself(delivered: SqlLedger, said: object) -> None:
    body = json.dumps(said).encode()
    assert post(delivered, (body, signed(body))) == [200]
    assert delivered.status("r1").confirmed == 2
    assert (state(delivered, "T000003"), state(delivered, "T000004")) == ("confirmed", "confirmed")


PARTS_OF_NAMES = [
    *[{"action": verb} for verb in ("deleted", "delete", "void", "Voided", "transaction.deleted")],
    *[{"verb": "deleted"}, {"operation": "destroy"}, {"eventType": "transaction.deleted"}],
    *[{"resource": "profile"}, {"object": "order"}, {"entity_type": "profiles", "action": "created"}],
    *[{"event": {"name": "deleted"}}, {"type": "profile.created"}, {"deleted": True}, {"status": "voided"}],
    {"meta": {"event": "transaction.deleted"}},
]


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS_OF_NAMES, ids=str)
def test_what_says_that_a_sale_was_not_written_counts_wherever_it_stands(
    delivered: SqlLedger, part: dict[str, Any]
) -> None:
    context = sale("T000003")
    said: list[Any] = [
        {**part, "data": context},
        {**part, "data": [context]},
        [{**part, "transaction": context}],
        {"event": "transaction.created", "data": {**part, "transaction": context}},
        {"events": [{"payload": {**part, "data": context}}]},
    ]
    if "meta" not in part:  # that of a sale is the source's own
        said += [{"data": {**context, **part}}, {**context, **part}]
    for each in said:
        body = json.dumps(each).encode()
        assert post(delivered, (body, signed(body))) == [200]
        assert state(delivered, "T000003") == "delivered", each


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        {"action": "created"},
        {"action": "update", "resource": "transaction"},
        {"object": "Transactions", "event": "transaction:updated"},
        {"type": "sale", "staff_id": "peter.reed", "receipt_ref": "a/bed"},
        {"meta": {"event": "transaction.deleted", "status": "deleted"}},
        {"profile": {"type": "customer.subscribed", "status": "deleted"}},
        {"items": [{"external_id": "i", "status": "deleted", "action": "deleted"}]},
    ],
)
def test_what_a_sale_says_of_other_things_does_not_count(delivered: SqlLedger, more: dict[str, Any]) -> None:
    body = event("T000003", **more)
    post(delivered, (body, signed(body)))
    assert state(delivered, "T000003") == "confirmed"


@pytest.mark.parametrize("body", [b"[" * 20_000 + b"]" * 20_000, b'{"data":' * 900 + b"1" + b"}" * 900])
def test_deep_nesting_does_no_harm(delivered: SqlLedger, body: bytes) -> None:
    assert post(delivered, (body, signed(body))) == [200]


def head(body: bytes, *fields: str) -> bytes:
    signature = signed(body)[SIGNATURE_HEADER]
    lines = ["POST /hook HTTP/1.1", "Host: here", f"{SIGNATURE_HEADER}: {signature}", *fields, "", ""]
    return "\r\n".join(lines).encode()


def exchanged(url: str, *parts: bytes) -> bytes:
    """The first line of what a server answers to these bytes; empty where the client hangs up instead."""
    address = httpx.URL(url)
    with socket.create_connection((address.host, address.port), timeout=5) as connection:
        for part in parts:
            connection.sendall(part)
        return b"" if not parts[-1] else connection.recv(4096).split(b"\r\n")[0]


def test_a_body_in_chunks_has_no_length(delivered: SqlLedger) -> None:
    body = event("T000003")
    chunks = b"".join(b"1\r\n%c\r\n" % each for each in body) + b"0\r\n\r\n"
    with listening(delivered) as url:
        assert exchanged(url, head(body, "Transfer-Encoding: chunked"), chunks).endswith(b"200 OK")
        assert exchanged(url, head(body, f"Content-Length: {5 << 20}"), b"x" * (5 << 20))[9:12] == b"413"
    assert state(delivered, "T000003") == "confirmed"


def test_a_body_that_does_not_come_whole_confirms_nothing(
    delivered: SqlLedger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether the sender stalls or hangs up; neither is an error to be logged."""
    monkeypatch.setattr("pipeline.loading.confirm.webhook_receiver._BODY_S", 0.05)
    body = event("T000003")
    with listening(delivered) as url:
        begun = head(body, f"Content-Length: {len(body) + 1}")
        assert exchanged(url, begun, body).startswith(b"HTTP/1.1 408")
        assert exchanged(url, begun, body, b"") == b""
    assert state(delivered, "T000003") == "delivered"
    assert capsys.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    "context",
    [
        {"is_void": True},
        {"is_void": 1},
        {"deleted_at": "2024-01-01 00:00:00"},
        {"voided_at": "2024-01-01 00:00:00"},
        {"is_deleted": 1},
        {"voided": True},
        {"status": "Void"},
        {"status": "cancelled"},
    ],
)
def test_a_sale_that_is_void_or_gone_is_not_confirmed(delivered: SqlLedger, context: dict[str, Any]) -> None:
    body = event("T000003", **context)
    assert post(delivered, (body, signed(body))) == [200]
    assert state(delivered, "T000003") == "delivered"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("total", "confirmed"),
    [
        *[("12.5", True), (12.50, True), ("12.500", True), (None, True), (12.51, False), (0, False)],
        *[
            ("twelve", False),
            ("sNaN", False),
            ("1e99999999999999999999", False),
            ("", False),
            ([12.5], False),
            ({"amount": 12.5}, False),
            (True, False),
        ],
    ],
)
def test_the_total_is_the_one_that_was_sent(delivered: SqlLedger, total: object, confirmed: bool) -> None:
    delivered.record([delivered.find(["T000003"])["T000003"]._replace(total="12.50")])
    body = event("T000003", total=total)
    post(delivered, (body, signed(body)))
    assert (state(delivered, "T000003") == "confirmed") is confirmed


def test_a_sale_that_says_that_it_is_neither_void_nor_gone_is_confirmed(delivered: SqlLedger) -> None:
    flags = {"voided": False, "deleted_at": None, "is_deleted": 0, "cancelled_at": "", "status": "completed"}
    body = event("T000003", **flags)
    post(delivered, (body, signed(body)))
    assert state(delivered, "T000003") == "confirmed"


@pytest.mark.parametrize("odd", ["a\x00b", "\ud800", "x" * 100_000, ""])
def test_an_odd_id_does_no_harm_to_the_events_beside_it(any_ledger: SqlLedger, odd: str) -> None:
    load(any_ledger, RUN, SOME, Tenant())

    async def main() -> list[int]:
        app = webhook_app(any_ledger, Secret(SECRET))
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client,
        ):
            bodies = [event(odd), *(event(each.external_id) for each in SOME), event(odd)]
            posts = [client.post("/", content=body, headers=signed(body)) for body in bodies]
            return [answer.status_code for answer in await asyncio.gather(*posts)]

    assert set(asyncio.run(main())) == {200}
    assert any_ledger.status("r1").confirmed == 20
