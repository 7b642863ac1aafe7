"""The dry run on a cluster gives, byte for byte, what it gives on one machine."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.core.memory import Budget
from pipeline.staging.manifest import Manifest, read_manifest
from pipeline.staging.workdir import RunDir
from tests.command import REPOSITORY, call, open_to_others
from tests.receipts import export, receipt, write_export

pytestmark = pytest.mark.slow

SAMPLES = REPOSITORY / "sample_data"


def prepared(workdir: Path, engine: str, mapping: str, source: Path, code: int = 0) -> Manifest:
    ended = call("prepare", "-m", mapping, "--engine", engine, "--json", "--workdir", workdir, source)
    assert ended.code == code, ended.stderr
    return read_manifest(RunDir(Path(ended.summary["run_dir"])))


def outcome(manifest: Manifest) -> dict[str, Any]:
    own = ("run_id", "run_dir", "report", "started_at", "duration_s")
    return {name: value for name, value in manifest.summary.items() if name not in own}


def quarantined(workdir: Path, manifest: Manifest) -> pl.DataFrame:
    # Without the messages: that of a time in the future names the moment at which the run began.
    reported = pl.read_parquet(workdir / "runs" / manifest.run_id / "quarantine" / "*.parquet")
    return reported.drop("message")


@pytest.fixture
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Partitions of a few thousand rows, so that a small input has many."""
    monkeypatch.setattr("pipeline.cli.options.Budget.of", lambda *_: Budget(partition_bytes=1000))


@pytest.mark.parametrize(
    ("mapping", "sample"),
    [
        ("pos_lines", "pos_lines.csv"),
        ("marketplace_tables", "marketplace_tables"),
        ("nested_parquet", "nested_parquet.parquet"),
        ("shopify_orders", "shopify_orders.csv"),
        ("online_retail", "online_retail"),
    ],
)
def test_every_kind_of_mapping_gives_the_same_on_a_cluster(
    mapping: str, sample: str, cluster_address: str, tmp_path: Path
) -> None:
    here = prepared(tmp_path / "here", "local", mapping, SAMPLES / sample)
    there = prepared(tmp_path / "there", cluster_address, mapping, SAMPLES / sample)
    assert there.parts == here.parts
    assert outcome(there) == outcome(here)
    assert quarantined(tmp_path / "there", there).equals(quarantined(tmp_path / "here", here))
    assert open_to_others(tmp_path / "there") == []


def test_conflicts_and_rows_that_lie_apart_are_found_over_all_units(
    cluster_address: str, small_units: None, tmp_path: Path
) -> None:
    source = tmp_path / "sales"
    source.mkdir()
    for day in range(4):
        # Sale 7 goes on in the next file; `Same` is in each, with another time; `Mended` with another price.
        rows = [row for n in range(20) for row in receipt(f"{day}-{n}")]
        rows += [receipt("7", 4)[day], *receipt("Same", sale_datetime=f"1{day}/07/2024 01:39:36")]
        rows += receipt("Mended", price=f"{day + 1}.00")
        write_export(source / f"day-{day}.csv", rows)
    here = prepared(tmp_path / "here", "local", "pos_lines", source / "*.csv")
    there = prepared(tmp_path / "there", cluster_address, "pos_lines", source / "*.csv")
    assert here.summary["rejected"]
    assert here.summary["warnings"]["older_version"] == 1
    assert len(here.parts) > 3
    assert there.parts == here.parts
    assert outcome(there) == outcome(here)


def test_a_worker_killed_half_way_costs_nothing_but_time(
    cluster: Any, cluster_address: str, small_units: None, tmp_path: Path
) -> None:
    for part in range(20):
        rows = [row for n in range(part * 50, part * 50 + 50) for row in receipt(n)]
        (tmp_path / "sales").mkdir(exist_ok=True)
        write_export(tmp_path / "sales" / f"{part:02}.csv", rows)
    here = prepared(tmp_path / "here", "local", "pos_lines", tmp_path / "sales" / "*.csv")
    staged_then: list[int] = []

    def kill_one() -> None:
        while not (staged := len(list((tmp_path / "there").glob("runs/*/staged/*.parquet")))):
            time.sleep(0.005)
        os.kill(cluster.workers[0].pid, signal.SIGKILL)
        staged_then.append(staged)

    killer = threading.Thread(target=kill_one)
    killer.start()
    there = prepared(tmp_path / "there", cluster_address, "pos_lines", tmp_path / "sales" / "*.csv")
    killer.join()
    assert staged_then[0] < len(here.parts)
    assert there.transactions == 1_000
    assert there.parts == here.parts


def test_two_processes_here_are_a_cluster_too(tmp_path: Path) -> None:
    sales = export(tmp_path / "sales.csv", 50)
    here = prepared(tmp_path / "here", "local", "pos_lines", sales)
    assert prepared(tmp_path / "there", "dask", "pos_lines", sales).parts == here.parts


def test_an_engine_that_cannot_be_used_leaves_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.engine.dask._CONNECT_S", 0.3)
    sales = export(tmp_path / "sales.csv", 5)
    arguments = ("prepare", "-m", "pos_lines", "--workdir", tmp_path / "work", sales, "--engine")
    assert call(*arguments, "dask://127.0.0.1:1").code == 2
    assert list((tmp_path / "work" / "runs").iterdir()) == []
    assert "expected local, dask or dask://host:port" in call(*arguments, "spark").stderr
