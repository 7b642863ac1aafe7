"""Faults over a real socket: what the client sees, and what became of the transaction."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from pipeline.core.errors import SettingsError
from pipeline.simulator import Faults
from pipeline.testing import local_omneo


def test_errors_take_nothing(omneo, api, sale):
    omneo.set_faults(error_share=1, error_status=502)
    assert api.post("/transactions/queue", json=sale()).status_code == 502
    assert omneo.arrivals() == []


def test_a_reset_before_takes_nothing(omneo, api, sale):
    omneo.set_faults(reset_before_share=1)
    with pytest.raises(httpx.TransportError):
        api.post("/transactions/queue", json=sale())
    assert omneo.arrivals() == []
    assert omneo.stats()["by_status"] == {"dropped": 1}


def test_a_reset_after_has_taken_it(omneo, api, sale):
    omneo.set_faults(reset_after_share=1)
    with pytest.raises(httpx.ReadError, match="reset"):
        api.post("/transactions/queue", json=sale())
    assert [(each.external_id, each.outcome, each.answered) for each in omneo.arrivals()] == [
        ("S-1", "accepted", False)
    ]
    omneo.set_faults(reset_after_share=0)
    assert api.post("/transactions/queue", json=sale()).status_code == 200
    assert omneo.drain() == 2
    assert len(omneo.transactions()) == 1


def test_a_reset_is_a_tcp_reset_even_on_a_bare_socket(omneo):
    omneo.set_faults(reset_before_share=1)
    url = httpx.URL(omneo.base_url)
    with socket.create_connection((url.host, url.port)) as connection:
        connection.sendall(f"GET /api/v3/locations HTTP/1.1\r\nHost: {url.host}\r\n\r\n".encode())
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_a_slow_answer_has_taken_it(omneo, api, sale):
    omneo.set_faults(slow_share=1, slow_s=30)
    with pytest.raises(httpx.ReadTimeout):
        api.post("/transactions/queue", json=sale(), timeout=0.2)
    assert [each.external_id for each in omneo.arrivals()] == ["S-1"]


def test_latency_is_kept(omneo, api):
    omneo.set_faults(latency_s=0.1, jitter_s=0.05)
    started = time.perf_counter()
    api.get("/locations")
    assert time.perf_counter() - started >= 0.1


def test_requests_are_answered_side_by_side(omneo, api):
    omneo.set_faults(latency_s=0.3)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.get("/locations").status_code, range(8)))
    assert answers == [200] * 8
    assert omneo.stats()["in_flight_most"] > 1


@pytest.mark.slow
def test_an_outage_is_switched_on_and_off(omneo, api, sale):
    omneo.set_faults(outage=True)
    assert api.post("/transactions/queue", json=sale()).status_code == 503
    omneo.set_faults(outage_status=0)
    with pytest.raises(httpx.TransportError):
        api.get("/locations")
    omneo.set_faults(outage=False)
    assert api.get("/locations").status_code == 200
    assert omneo.arrivals() == []


def test_refusals_are_the_same_every_time(omneo, api, sale):
    omneo.set_faults(refused_share=0.3)

    def refused() -> list[int]:
        return [
            n for n in range(40) if api.post("/transactions/queue", json=sale(f"S-{n}")).status_code == 422
        ]

    first = refused()
    assert 0 < len(first) < 40
    assert refused() == first
    assert omneo.stats()["arrivals"] == {
        "accepted": 2 * (40 - len(first)),
        "refused": 2 * len(first),
        "lost": 0,
    }
    body = api.post("/transactions/queue", json=sale(f"S-{first[0]}")).json()
    assert list(body["errors"]) == ["external_id"]


def test_lost_jobs_are_answered_200_and_mended_by_a_repeat(omneo, api, sale):
    omneo.set_faults(lost_share=0.3)
    for n in range(40):
        assert api.post("/transactions/queue", json=sale(f"S-{n}")).status_code == 200
    omneo.drain()
    lost = {each.external_id for each in omneo.arrivals() if each.outcome == "lost"}
    there = {each["external_id"] for each in omneo.transactions()}
    assert 0 < len(lost) < 40
    assert lost | there == {f"S-{n}" for n in range(40)}
    assert not lost & there
    for external_id in lost:
        api.post("/transactions/queue", json=sale(external_id))
    omneo.drain()
    assert len(omneo.transactions()) == 40


def test_a_lost_job_leaves_its_batch_pending(omneo, api, sale):
    omneo.set_faults(lost_share=1)
    batch_id = api.post("/transactions/batch.json", json={"transactions": [sale()]}).json()["batch_id"]
    omneo.drain()
    assert api.get(f"/batches/{batch_id}").json()["data"]["status"] == "pending"


def test_jobs_can_overtake_each_other(omneo, api, sale):
    omneo.set_faults(job_delay_s=0, job_jitter_s=600)
    for n in range(30):
        api.post("/transactions/queue", json=sale(f"S-{n}"))
    omneo.drain()
    made = [each["external_id"] for each in omneo.transactions()]
    assert made != sorted(made, key=lambda each: int(each[2:]))
    assert [each.external_id for each in omneo.arrivals()] == [f"S-{n}" for n in range(30)]


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_without_faults(omneo, api, sale):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: api.post("/transactions/queue", json=sale(f"S-{n}")), range(300)))
    omneo.drain()
    stats = omneo.stats()
    assert (stats["ids_received"], stats["ids_repeated"], stats["most_of_one_id"]) == (300, 0, 1)
    assert (stats["transactions"], stats["items"]) == (300, 600)
    assert stats["by_endpoint"] == {"POST /transactions/queue": 300}
    assert stats["by_status"] == {"200": 300}


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ({"error_shar": 0.1}, "did you mean 'error_share'"),
        ({"error_share": 1.1}, "0 to 1"),
        ({"error_share": -0.1}, "0 to 1"),
        ({"error_share": float("nan")}, "0 to 1"),
        ({"error_share": "0.1"}, "float"),
        ({"error_share": True}, "float"),
        ({"error_share": 0.6, "slow_share": 0.6}, "add up"),
        ({"webhook_never_share": 0.6, "webhook_twice_share": 0.6}, "add up"),
        ({"error_status": 200}, "400 to 599"),
        ({"outage": 1}, "bool"),
        ({"throttle_requests": 1.5}, "int"),
        ({"throttle_window_s": 0}, "0.001"),
    ],
)
def test_impossible_faults_are_reported(faults, words):
    with pytest.raises(SettingsError, match=words):
        Faults().changed(faults)


def test_every_fault_has_a_sentence_for_help():
    assert all(each.metadata["help"].endswith(".") for each in Faults.__dataclass_fields__.values())


def test_impossible_faults_change_nothing(omneo):
    before = omneo.faults()
    for wrong in ({"nonsense": 1}, {"error_share": 2}):
        with pytest.raises(SettingsError):
            omneo.set_faults(**wrong)
    assert omneo.faults() == before


@pytest.mark.parametrize("faults", [{"slow_share": 1, "slow_s": 600}, {"latency_s": 600}])
def test_waiting_answers_do_not_hold_up_the_end(client, capfd, faults):
    with ThreadPoolExecutor(1) as pool:
        with local_omneo(**faults) as omneo:
            waiting = pool.submit(client(omneo).get, "/locations")
            while not omneo.stats()["requests"]:
                time.sleep(0.01)
            started = time.perf_counter()
        assert time.perf_counter() - started < 0.9
        assert waiting.result().status_code == 200
    assert capfd.readouterr().err == ""
