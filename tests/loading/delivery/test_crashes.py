"""Real processes, killed for real, against a real server."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipeline.loading.ledger.entries import IN_FLIGHT
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.simulator import Faults, SimulatorSettings
from pipeline.testing import LocalOmneo
from tests.forked import Forked
from tests.loading.delivery.delivery_process import result_of, start_delivery
from tests.loading.tenant import made
from tests.servers import new_database
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

# A load of 20,000 with 20 kills:
# CRASH_TRANSACTIONS=20000 CRASH_KILLS=20 pytest tests/loading/delivery/test_crashes.py
COUNT = int(os.environ.get("CRASH_TRANSACTIONS", "1000"))
KILLS = int(os.environ.get("CRASH_KILLS", "4"))
# Any command killed at any moment:
# CRASH_ROUNDS=20 CRASH_SEED=1 pytest tests/loading/delivery/test_crashes.py -k any_moment
ROUNDS = int(os.environ.get("CRASH_ROUNDS", "5"))
FEW = 300
CONCURRENCY = 8


@pytest.fixture
def omneo_settings() -> SimulatorSettings:
    return SimulatorSettings(faults=Faults(latency_s=0.002, job_delay_s=0))


def start(workdir: Path, omneo: LocalOmneo, count: int = COUNT, **options: Any) -> Forked:
    return start_delivery(workdir, omneo, count, **{"concurrency": CONCURRENCY, **options})


def wait_for_arrivals(omneo: LocalOmneo, more_than: int, process: Forked) -> None:
    wait_for(lambda: arrivals(omneo) > more_than or process.poll() is not None, 600, 0.05)


def arrivals(omneo: LocalOmneo) -> int:
    return int(omneo.stats()["arrivals"]["accepted"])


def kill_often(workdir: Path, omneo: LocalOmneo, **options: Any) -> None:
    """Kill the load at random moments, then let it finish."""
    dice = random.Random(7)
    for _ in range(KILLS):
        process = start(workdir, omneo, **options)
        wait_for_arrivals(omneo, arrivals(omneo) + dice.randrange(COUNT // (2 * KILLS)), process)
        process.kill()
        process.communicate()
        omneo.drain()
    assert result_of(start(workdir, omneo, **options))["delivered"] == COUNT


def check(workdir: Path, omneo: LocalOmneo) -> Counter[str | None]:
    """Everything is in Omneo once and in the ledger as delivered; returns how often each arrived."""
    omneo.drain()
    there = [each["external_id"] for each in omneo.transactions()]
    expected = [made(n).external_id for n in range(COUNT)]
    assert sorted(there) == expected
    with SqlLedger(workdir / "ledger.db") as ledger:
        assert {row.state for row in ledger.find(expected).values()} == {"delivered"}
        assert ledger.status("r1").delivered == COUNT
    return Counter(each.external_id for each in omneo.arrivals())


def test_killed_again_and_again_nothing_is_lost_and_little_repeated(
    tmp_path: Path, omneo: LocalOmneo
) -> None:
    kill_often(tmp_path, omneo, in_doubt="resend")
    arrived = check(tmp_path, omneo)
    assert sum(arrived.values()) - COUNT <= KILLS * CONCURRENCY


def test_with_look_ups_nothing_is_repeated(tmp_path: Path, omneo: LocalOmneo) -> None:
    kill_often(tmp_path, omneo, in_doubt="lookup")
    assert set(check(tmp_path, omneo).values()) == {1}


def test_batches_survive_kills(tmp_path: Path, omneo: LocalOmneo) -> None:
    kill_often(tmp_path, omneo, endpoint="batch", batch_size=25)
    check(tmp_path, omneo)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_any_command_may_be_killed_at_any_moment(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, omneo: LocalOmneo
) -> None:
    """Few are in doubt each time, and in the end Omneo and the ledger have all, or have all as void."""
    dice = random.Random(os.environ.get("CRASH_SEED", "7"))
    names = [made(n).external_id for n in range(FEW)]
    options: dict[str, Any] = {"lease_s": 1.0, "part_size": 50}
    if kind == "postgresql":
        options["ledger"] = new_database(request.getfixturevalue("postgres_address"))
    with SqlLedger(options.get("ledger", tmp_path / "ledger.db"), omneo.base_url) as ledger:
        doubtful: set[str] = set()
        for _ in range(ROUNDS):
            command = dice.choice(["load", "load", "void", "confirm"])
            process = start(tmp_path, omneo, FEW, command=command, **options, revive=dice.random() < 0.5)
            assert process.stderr is not None
            assert process.stderr.readline() == "begins\n"
            time.sleep(dice.uniform(0, 1.5))
            process.kill()
            process.communicate()
            if "r1" not in ledger.runs():
                continue
            assert ledger.status("r1").accepted == FEW
            known = ledger.find(names).values()
            now = {each.external_id for each in known if each.state in IN_FLIGHT}
            assert len(now - doubtful) <= CONCURRENCY, command
            doubtful = now
        for command in ("load", "void"):
            result_of(start(tmp_path, omneo, FEW, command=command, **options, revive=command == "load"))
            omneo.drain()
            there = {each["external_id"]: bool(each["is_void"]) for each in omneo.transactions()}
            assert there == dict.fromkeys(names, command == "void")
            assert len(omneo.transactions()) == FEW
            status = ledger.status("r1")
            assert (status.delivered, status.voided) == ((FEW, 0) if command == "load" else (0, FEW))


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_what_is_in_flight(tmp_path: Path, omneo: LocalOmneo, sent: signal.Signals) -> None:
    process = start(tmp_path, omneo)
    wait_for_arrivals(omneo, 100, process)
    process.send_signal(sent)
    delivered = result_of(process, 143)["delivered"]
    assert 100 <= delivered < COUNT
    assert delivered == arrivals(omneo)
    result_of(start(tmp_path, omneo))
    assert set(check(tmp_path, omneo).values()) == {1}


def test_a_second_signal_ends_at_once(tmp_path: Path, omneo: LocalOmneo) -> None:
    omneo.set_faults(slow_share=1.0, slow_s=60)
    process = start(tmp_path, omneo)
    wait_for_arrivals(omneo, 0, process)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    omneo.set_faults(slow_share=0.0)
    result_of(start(tmp_path, omneo))
    assert set(check(tmp_path, omneo).values()) == {1}


def test_the_token_is_in_no_file_and_no_process_list(tmp_path: Path, omneo: LocalOmneo) -> None:
    process = start(tmp_path, omneo)
    wait_for_arrivals(omneo, 50, process)
    command = Path(f"/proc/{process.pid}/cmdline").read_bytes() if Path("/proc").exists() else b""
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=60)
    assert omneo.token.encode() not in command
    assert omneo.token not in out + errors
    assert not any(
        omneo.token.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()
    )
