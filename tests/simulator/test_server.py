"""The server itself: where it listens, what survives a restart, how it starts and ends."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from pipeline.core.errors import SettingsError
from pipeline.simulator import SimulatorSettings, serve
from pipeline.testing import local_omneo
from tests.sockets import sends_at_once

SALE = {"external_id": "S-1", "total": 10.5, "transacted_at": "2024-03-01 10:00:00"}


def client(omneo):
    return httpx.Client(
        base_url=omneo.base_url, headers={"Authorization": f"Bearer {omneo.token}"}, trust_env=False
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.10", "127.0.0.2", "example.com", ""])
def test_it_listens_nowhere_but_on_loopback(host):
    with pytest.raises(SettingsError, match="loopback"):
        serve(SimulatorSettings(), host=host)


def test_a_taken_port_is_reported():
    with local_omneo() as omneo:
        port = httpx.URL(omneo.base_url).port
        with pytest.raises(SettingsError, match=f"port {port}"):
            serve(SimulatorSettings(), port=port)


def test_answers_go_out_at_once():
    with local_omneo() as omneo:
        url = httpx.URL(omneo.base_url)
        with socket.create_connection((url.host, url.port)) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 ")
            assert sends_at_once(connection)


def test_state_and_waiting_jobs_survive_a_restart(tmp_path):
    settings = SimulatorSettings(db=tmp_path / "omneo.db")
    with local_omneo(settings, job_delay_s=600) as omneo, client(omneo) as api:
        api.post("/transactions/update-create", json=SALE | {"external_id": "S-0"}).raise_for_status()
        api.post("/transactions/queue", json=SALE).raise_for_status()
    assert (tmp_path / "omneo.db").stat().st_mode & 0o777 == 0o600
    with local_omneo(settings, job_delay_s=600) as omneo:
        assert [each["external_id"] for each in omneo.transactions()] == ["S-0"]
        assert omneo.drain() == 1
        assert [each["external_id"] for each in omneo.transactions()] == ["S-0", "S-1"]
        assert [each.external_id for each in omneo.arrivals()] == ["S-0", "S-1"]


def test_a_database_that_cannot_be_opened_is_reported(tmp_path):
    with (
        pytest.raises(SettingsError, match="no-such-directory"),
        local_omneo(SimulatorSettings(db=tmp_path / "no-such-directory" / "omneo.db")),
    ):
        pass
    (tmp_path / "text").write_text("no database at all, but long enough to be read as one" * 20)
    with (
        pytest.raises(SettingsError, match="not a database"),
        local_omneo(SimulatorSettings(db=tmp_path / "text")),
    ):
        pass


SERVE = """
import sys
from pathlib import Path
from pipeline.simulator import SimulatorSettings, serve
serve(SimulatorSettings(db=Path(sys.argv[1])), on_ready=lambda url: print(url, flush=True))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order_and_keeps_what_was_accepted(tmp_path, number):
    db = tmp_path / "omneo.db"
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(db)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    with process:
        url = process.stdout.readline().strip()
        headers = {"Authorization": "Bearer simulator-token"}
        httpx.post(
            f"{url}/transactions/queue", json=SALE, headers=headers, trust_env=False
        ).raise_for_status()
        process.send_signal(number)
        process.wait(timeout=10)
    with local_omneo(SimulatorSettings(db=db)) as omneo:
        omneo.drain()
        assert [each["external_id"] for each in omneo.transactions()] == ["S-1"]
