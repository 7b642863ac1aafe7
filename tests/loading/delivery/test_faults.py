"""Everything at once against a real server: errors, dropped answers, an outage, refusals, lost jobs."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from pipeline.core.settings import Connection, Secret
from pipeline.loading.confirm.confirm_run import confirm
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.loading.delivery.loader import deliver
from pipeline.loading.http.retry_policy import RetryPolicy
from pipeline.loading.ledger.entries import State
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.simulator import Profile, SimulatorSettings
from pipeline.testing import LocalOmneo, local_omneo
from tests.loading.tenant import batches_of, confirm_and_resend, made, run_of

pytestmark = pytest.mark.slow

COUNT = int(os.environ.get("FAULT_TRANSACTIONS", "1500"))
OUTAGE_S = float(os.environ.get("FAULT_OUTAGE_S", "2"))
OPTIONS = DeliveryOptions(policy=RetryPolicy(first_wait_s=0.1, longest_wait_s=1.0), concurrency=16)
KNOWN = SimulatorSettings(profiles=tuple(Profile(email=f"p{n}@example.com") for n in range(10)))


def connection(omneo: LocalOmneo) -> Connection:
    return Connection(omneo.base_url, Secret(omneo.token))


def test_every_transaction_ends_in_exactly_the_right_state(tmp_path: Path) -> None:
    some = [made(n) for n in range(COUNT)]
    faults = {
        "error_share": 0.03,
        "reset_after_share": 0.02,
        "reset_before_share": 0.01,
        "refused_share": 0.004,
    }
    with (
        local_omneo(KNOWN, outage_after_s=1.0, outage_for_s=OUTAGE_S, **faults) as omneo,
        SqlLedger(tmp_path / "l.db") as ledger,
    ):
        result = deliver(run_of("r1", some), batches_of(some), connection(omneo), ledger, OPTIONS)
        omneo.drain()
        there = Counter(each["external_id"] for each in omneo.transactions())
        refused = {each.external_id for each in omneo.arrivals() if each.outcome == "refused"}
        rows = ledger.find([each.external_id for each in some])
    assert result.error is None
    assert result.requests.errors > 0
    assert refused
    assert {name for name, row in rows.items() if row.state is State.REFUSED} == refused
    assert {name for name, row in rows.items() if row.state is State.DELIVERED} == set(there)
    assert set(there) | refused == {each.external_id for each in some}
    assert set(there.values()) == {1}
    assert result.status.delivered == len(there)
    assert result.status.refused == len(refused)
    assert (result.status.failed, result.status.pending) == (0, 0)


def test_lost_jobs_are_found_and_nothing_else_and_sending_again_helps(tmp_path: Path) -> None:
    some = [made(n) for n in range(COUNT)]
    run = run_of("r1", some)
    with (
        local_omneo(KNOWN, lost_share=0.01, job_delay_s=0.0) as omneo,
        SqlLedger(tmp_path / "l.db") as ledger,
    ):
        deliver(run, batches_of(some), connection(omneo), ledger, OPTIONS)
        omneo.drain()
        lost = {each.external_id for each in omneo.arrivals() if each.outcome == "lost"}
        found, resent = confirm_and_resend(run, batches_of(some), connection(omneo), ledger, OPTIONS)
        assert lost
        assert {each.external_id for each in found.findings} == lost
        assert {each.state for each in found.findings} == {State.MISSING}
        assert (found.confirmed, found.missing, found.differing) == (COUNT - len(lost), len(lost), 0)
        assert resent == len(lost)
        omneo.drain()
        again = confirm(run, batches_of(some), connection(omneo), ledger, OPTIONS, patience_s=0)
        assert (again.confirmed, again.missing) == (COUNT, 0)
        assert ledger.status("r1").confirmed == COUNT
        assert len(omneo.transactions()) == COUNT


def test_a_throttle_is_kept_over_real_sockets(tmp_path: Path) -> None:
    # A window of two seconds stands for the minute, so that several of them fit into a test.
    some = [made(n) for n in range(300)]
    options = DeliveryOptions(concurrency=16, window_s=2.0)
    with (
        local_omneo(throttle_requests=100, throttle_window_s=2.0) as omneo,
        SqlLedger(tmp_path / "l.db") as ledger,
    ):
        result = deliver(run_of("r1", some), batches_of(some), connection(omneo), ledger, options)
    assert result.status.delivered == 300
    assert result.requests.throttled <= 2


def test_a_batch_with_culprits_is_halved_until_they_stand_alone(tmp_path: Path) -> None:
    some = [made(n) for n in range(300)]
    options = DeliveryOptions(endpoint="batch", batch_size=50, concurrency=4)  # type: ignore[arg-type]
    with local_omneo(refused_share=0.02, job_delay_s=0.0) as omneo, SqlLedger(tmp_path / "l.db") as ledger:
        result = deliver(run_of("r1", some), batches_of(some), connection(omneo), ledger, options)
        omneo.drain()
        there = {each["external_id"] for each in omneo.transactions()}
        rows = ledger.find([each.external_id for each in some])
    refused = {name for name, row in rows.items() if row.state is State.REFUSED}
    assert refused
    assert result.status.refused == len(refused)
    assert there == {each.external_id for each in some} - refused
    assert all(row.batch for name, row in rows.items() if name in there)


def test_a_batchs_results_are_taken_one_by_one(tmp_path: Path) -> None:
    some = [made(n) for n in range(200)]
    options = DeliveryOptions(endpoint="batch", batch_size=50, concurrency=4)  # type: ignore[arg-type]
    settings = SimulatorSettings(batch_checks="item")
    with local_omneo(settings, refused_share=0.03) as omneo, SqlLedger(tmp_path / "l.db") as ledger:
        result = deliver(run_of("r1", some), batches_of(some), connection(omneo), ledger, options)
        there = {each["external_id"] for each in omneo.transactions()}
        rows = ledger.find([each.external_id for each in some])
    refused = {name for name, row in rows.items() if row.state is State.REFUSED}
    assert refused
    assert there == {each.external_id for each in some} - refused
    assert result.requests.sent < 4 + 4 * 20
    assert all("external id is invalid" in (rows[name].message or "") for name in refused)


def test_what_a_batch_never_tells_is_looked_up_and_sent_again(tmp_path: Path) -> None:
    some = [made(n) for n in range(40)]
    options = DeliveryOptions(endpoint="batch", batch_size=20, give_up_after_s=1.5)  # type: ignore[arg-type]
    with local_omneo(lost_share=0.05, job_delay_s=0.0) as omneo, SqlLedger(tmp_path / "l.db") as ledger:
        result = deliver(run_of("r1", some), batches_of(some), connection(omneo), ledger, options)
        lost = {each.external_id for each in omneo.arrivals() if each.outcome == "lost"}
        rows = ledger.find([each.external_id for each in some])
    assert lost
    assert result.error is None
    assert {row.state for row in rows.values()} == {State.DELIVERED}
    assert all(rows[name].attempts == 2 for name in lost)


def test_update_create_answers_at_once(tmp_path: Path) -> None:
    some = [made(n) for n in range(50)]
    options = DeliveryOptions(endpoint="update-create")  # type: ignore[arg-type]
    with local_omneo(job_delay_s=60) as omneo, SqlLedger(tmp_path / "l.db") as ledger:
        deliver(run_of("r1", some), batches_of(some), connection(omneo), ledger, options)
        assert len(omneo.transactions()) == 50
