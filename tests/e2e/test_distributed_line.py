"""Everything together: from S3, on a Dask cluster, over PostgreSQL, with a death in each half.

Set OMNEO_IMPORT_TEST_FULL for 200,000 receipts; otherwise it is 2,000.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.core.memory import Budget
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.staging.manifest import read_manifest
from pipeline.staging.workdir import RunDir
from pipeline.testing import LocalOmneo
from tests.command import call, staged_rows
from tests.engine.test_load_on_dask import Load
from tests.receipts import receipt, write_export
from tests.servers import address_of, arrived, environment_of_workers
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

FULL = bool(os.environ.get("OMNEO_IMPORT_TEST_FULL"))
RECEIPTS, PARTITION_BYTES = (200_000, 12 << 20) if FULL else (2_000, 1_000)
FILES = 10
OPTIONS = DeliveryOptions() if FULL else DeliveryOptions(concurrency=8, part_size=100, lease_s=1.0)


def exported(folder: Path) -> Path:
    """Sales of one to three lines, at a second's distance, in several files."""
    folder.mkdir()
    first = datetime(2024, 7, 1)
    for part in range(FILES):
        rows = [
            row
            for n in range(part, RECEIPTS, FILES)
            for row in receipt(
                n, 1 + n % 3, sale_datetime=f"{first + timedelta(seconds=n):%d/%m/%Y %H:%M:%S}"
            )
        ]
        write_export(folder / f"sales-{part}.csv", rows)
    return folder


def kill_when(condition: Callable[[], object], victim: int, every_s: float) -> threading.Thread:
    """Kill a process as soon as something is the case."""

    def watch() -> None:
        wait_for(condition, 900, every_s)
        os.kill(victim, signal.SIGKILL)

    watcher = threading.Thread(target=watch)
    watcher.start()
    return watcher


def test_two_deaths_cost_nothing(
    store: Any,
    bucket: str,
    s3_environment: dict[str, str],
    postgres: str,
    omneo: LocalOmneo,
    cluster: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.cli.options.Budget.of", lambda *_: Budget(partition_bytes=PARTITION_BYTES))
    sales = exported(tmp_path / "sales")
    store.put(f"{sales}/", f"{bucket}/sales/", recursive=True)
    local = call("prepare", "-m", "pos_lines", "--json", "--workdir", tmp_path / "local", f"{sales}/*.csv")
    expected = read_manifest(RunDir(Path(local.summary["run_dir"])))
    assert len(expected.parts) > 3

    shared = tmp_path / "shared"
    with environment_of_workers(cluster, {**s3_environment, **omneo.environment()}):
        engine = ("--engine", address_of(cluster))
        half = len(expected.parts) // 2
        dying = kill_when(
            lambda: len(list(shared.glob("runs/*/staged/*.parquet"))) >= half, cluster.workers[0].pid, 0.01
        )
        load = Load(omneo, shared, postgres, f"{bucket}/sales/*.csv", *engine)
        dying.join()
        (run,) = shared.glob("runs/*")
        found = read_manifest(RunDir(run))
        assert [part.transactions for part in found.parts] == [part.transactions for part in expected.parts]
        assert staged_rows(run).equals(staged_rows(Path(local.summary["run_dir"])))

        # The local Omneo counts all it has at each question, so it is asked seldom.
        dying = kill_when(
            lambda: omneo.stats()["requests"] > RECEIPTS // 2, cluster.workers[1].pid, 5 if FULL else 0.05
        )
        load.target = replace(load.target, options=OPTIONS)
        finished = load.on(cluster)
        dying.join()
    assert (finished.exit_code, finished.summary.delivery.delivered) == (0, RECEIPTS), finished.error
    got = arrived(omneo)
    staged = pl.read_parquet(run / "staged" / "*.parquet", columns=["external_id"])
    assert set(got) == set(staged["external_id"])
    print(f"{len(got):,} delivered, {sum(got.values()) - len(got)} of them twice")
    assert sum(got.values()) - len(got) <= OPTIONS.concurrency
