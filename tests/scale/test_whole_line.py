"""Everything together: from S3, on a Dask cluster, over PostgreSQL, with a death on the way of each.

Set OMNEO_IMPORT_TEST_FULL for 200,000 receipts; otherwise it is 5,000.
"""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.staging.manifest import read_manifest
from pipeline.staging.workdir import RunDir
from pipeline.testing import LocalOmneo
from tests.e2e.command import Ended, call, ended, start
from tests.e2e.receipts import export
from tests.scale.test_many_loaders import arrived, wait_for

FULL = bool(os.environ.get("OMNEO_IMPORT_TEST_FULL"))
RECEIPTS, CONCURRENCY = (200_000, 64) if FULL else (5_000, 8)


@pytest.mark.skipif(not FULL, reason="takes minutes: a dead loader's lease lasts half of one")
def test_two_deaths_cost_nothing(
    store: Any,
    bucket: str,
    s3_environment: dict[str, str],
    postgres: str,
    omneo: LocalOmneo,
    tmp_path: Path,
) -> None:
    distributed = pytest.importorskip("distributed", reason="needs the extra dask")
    sales = export(tmp_path / "sales.csv", RECEIPTS)
    store.put_file(str(sales), f"{bucket}/sales.csv")
    local = call("prepare", "-m", "pos_lines", "--json", "--workdir", tmp_path / "local", sales)
    expected = read_manifest(RunDir(Path(local.summary["run_dir"])))

    shared = tmp_path / "shared"
    env = {**s3_environment, **omneo.environment()}
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=logging.ERROR
    ) as cluster:
        address = cluster.scheduler_address.replace("tcp://", "dask://")
        common = ("--json", "--workdir", shared, "--ledger", postgres)
        preparing = start(
            "prepare", "-m", "pos_lines", "--engine", address, *common, f"{bucket}/sales.csv", env=env
        )
        wait_for(lambda: list(shared.glob("runs/*/staged/*.parquet")))
        os.kill(cluster.workers[0].pid, signal.SIGKILL)
        prepared = ended(preparing)
    assert prepared.code == 0, prepared.stderr
    found = read_manifest(RunDir(Path(prepared.summary["run_dir"])))
    assert [part.fingerprint for part in found.parts] == [part.fingerprint for part in expected.parts]

    loaders = [
        start("load", "latest", *common, "--concurrency", CONCURRENCY, "-q", env=env) for _ in range(2)
    ]
    # The local Omneo counts all it has at each question, so it is asked seldom.
    wait_for(lambda: omneo.stats()["requests"] > expected.transactions // 2, 600, 5)
    loaders[0].kill()
    loaders[0].communicate()
    stdout, stderr = loaders[1].communicate(timeout=900)
    survivor = Ended(loaders[1].returncode, stdout, stderr)
    assert survivor.code == 0, survivor.stderr
    assert survivor.summary["delivery"]["delivered"] == expected.transactions
    got = arrived(omneo)
    staged = pl.read_parquet(shared / "runs" / found.run_id / "staged" / "*.parquet", columns=["external_id"])
    assert set(got) == set(staged["external_id"])
    print(f"{len(got):,} delivered, {sum(got.values()) - len(got)} of them twice")
    assert sum(got.values()) - len(got) <= CONCURRENCY
