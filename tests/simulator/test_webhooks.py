"""Webhooks, received by a real server: their body, their signature, and their faults."""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipeline.core.errors import SettingsError
from pipeline.simulator import SimulatorSettings
from pipeline.testing import local_omneo


@dataclass
class Receiver:
    url: str
    status: int = 200
    got: list[tuple[bytes, str]] = field(default_factory=list)

    def ids(self) -> list[str]:
        return [json.loads(body)["external_id"] for body, _ in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.got.append((body, self.headers["X-Omneo-Hmac-SHA256"]))
            self.send_response(made.status)
            self.send_header("Content-Length", "0")
            self.send_header("Location", made.url + "/elsewhere")
            self.end_headers()

        def log_message(self, format, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = Receiver(f"http://127.0.0.1:{server.server_port}/hook")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield made
        server.shutdown()
        thread.join()


def settings(receiver: Receiver) -> SimulatorSettings:
    return SimulatorSettings(webhook_url=receiver.url, webhook_secret="s3cret")


def all_sent(omneo, count: int) -> dict:
    deadline = time.monotonic() + 5
    while (webhooks := omneo.stats()["webhooks"])["pending"] or webhooks["sent"] + webhooks["failed"] < count:
        assert time.monotonic() < deadline, webhooks
        time.sleep(0.01)
    return webhooks


def test_the_context_is_sent_and_signed_when_a_job_is_processed(receiver, client, sale):
    with local_omneo(settings(receiver), job_delay_s=600) as omneo:
        api = client(omneo)
        api.post("/transactions/queue", json=sale("naïve/☕"))
        assert receiver.got == []
        omneo.drain()
        all_sent(omneo, 1)
        ((body, signature),) = receiver.got
        assert json.loads(body) == api.get("/transactions/1").json()["data"]
        assert signature == hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
        api.put("/transactions/1", json={"is_void": True})
        all_sent(omneo, 2)
        assert json.loads(receiver.got[1][0])["is_void"] is True


def test_they_come_late(receiver, client, sale):
    with local_omneo(settings(receiver), webhook_delay_s=0.3) as omneo:
        started = time.monotonic()
        client(omneo).post("/transactions/queue", json=sale())
        omneo.drain()
        assert omneo.stats()["webhooks"]["pending"] == 1
        all_sent(omneo, 1)
        assert time.monotonic() - started >= 0.3


def test_they_come_twice(receiver, client, sale):
    with local_omneo(settings(receiver), webhook_twice_share=1) as omneo:
        client(omneo).post("/transactions/queue", json=sale())
        omneo.drain()
        all_sent(omneo, 2)
    assert receiver.ids() == ["S-1", "S-1"]


@pytest.mark.slow
def test_they_never_come(receiver, client, sale):
    with local_omneo(settings(receiver), webhook_never_share=0.5) as omneo:
        for n in range(20):
            client(omneo).post("/transactions/queue", json=sale(f"S-{n}"))
        omneo.drain()
        webhooks = all_sent(omneo, 20 - omneo.stats()["webhooks"]["withheld"])
        assert 0 < webhooks["withheld"] < 20
        assert len(omneo.transactions()) == 20
    assert len(set(receiver.ids())) == 20 - webhooks["withheld"]


def test_a_receiver_that_fails_stops_nothing(receiver, client, sale):
    receiver.status = 500
    with local_omneo(settings(receiver)) as omneo:
        api = client(omneo)
        api.post("/transactions/queue", json=sale("S-1"))
        omneo.drain()
        assert all_sent(omneo, 1)["failed"] == 1
        receiver.status = 200
        api.post("/transactions/queue", json=sale("S-2"))
        omneo.drain()
        assert all_sent(omneo, 2)["sent"] == 1


def test_a_redirect_is_not_followed(receiver, client, sale):
    receiver.status = 307
    with local_omneo(settings(receiver)) as omneo:
        client(omneo).post("/transactions/queue", json=sale())
        omneo.drain()
        assert all_sent(omneo, 1)["failed"] == 1
    assert len(receiver.got) == 1


def test_a_lost_job_sends_none(receiver, client, sale):
    with local_omneo(settings(receiver), lost_share=1) as omneo:
        client(omneo).post("/transactions/queue", json=sale())
        omneo.drain()
        assert omneo.stats()["webhooks"] == {"sent": 0, "failed": 0, "withheld": 0, "pending": 0}


@pytest.mark.parametrize("url", ["http://example.com/hook", "http://10.0.0.1/", "nonsense"])
def test_they_go_nowhere_but_to_loopback(url):
    with pytest.raises(SettingsError, match="loopback"):
        SimulatorSettings(webhook_url=url)
