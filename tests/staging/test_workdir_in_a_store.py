"""Runs and reports in an object store: every command works there as in a directory."""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.testing import LocalOmneo
from tests.command import Ended, call, ended, open_to_others, start
from tests.receipts import export, receipt, write_export
from tests.waiting import wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where local copies are made."""
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.setenv("TMPDIR", str(place))
    return place


Command = Callable[..., Ended]


@pytest.fixture
def command(bucket: str, tmp_path: Path, omneo: LocalOmneo) -> Command:
    def run(*arguments: object) -> Ended:
        where = ("--json", "--workdir", f"{bucket}/omneo", "--ledger", tmp_path / "l.sqlite")
        return call(*arguments, *where, env=omneo.environment())

    return run


def names(store: Any, bucket: str) -> list[str]:
    store.invalidate_cache()
    return sorted("/".join(each.split("/")[4:]) for each in store.find(f"{bucket}/omneo/runs"))


def holding(text: str, store: Any, run: str) -> list[str]:
    """The objects of a run in which a text stands."""
    found = []
    for each in store.find(run):
        content = store.cat_file(each)
        if each.endswith(".parquet"):
            content = pl.read_parquet(io.BytesIO(content)).write_json().encode()
        if text.encode() in content:
            found.append(each.rpartition("/")[2])
    return found


def test_every_command_works_there(
    command: Command, store: Any, bucket: str, tmp_path: Path, copies: Path, omneo: LocalOmneo
) -> None:
    rows = [*receipt("1"), *receipt("2"), *receipt("3", sale_total="broken")]
    sales = write_export(tmp_path / "sales.csv", rows)
    prepared = command("prepare", "-m", "pos_lines", sales)
    assert prepared.code == 0, prepared.stderr
    run = f"{bucket}/omneo/runs/{prepared.summary['run_id']}"
    assert (prepared.summary["run_dir"], prepared.summary["report"]) == (run, f"{run}/report.html")
    assert f"--workdir {bucket}/omneo\n" in prepared.stderr
    local = call("prepare", "-m", "pos_lines", "--json", "--workdir", tmp_path / "here", sales).summary
    here = Path(local["run_dir"])
    assert names(store, bucket) == sorted(str(p.relative_to(here)) for p in here.rglob("*") if p.is_file())
    there = store.cat_file(f"{run}/staged/part-00000.parquet")
    assert there == (here / "staged" / "part-00000.parquet").read_bytes()

    assert command("preflight", "latest").code == 0
    loaded = command("load", "latest")
    assert (loaded.code, loaded.summary["delivery"]["delivered"]) == (0, 2)
    assert json.loads(store.cat_file(f"{run}/report.json"))["delivery"]["delivered"] == 2
    assert command("confirm", "latest").summary["confirmed"] == 2
    assert command("status").summary["runs"][0]["confirmed"] == 2
    assert command("status", prepared.summary["run_id"][:10]).summary["report"] == f"{run}/report.html"
    assert "report.html" in command("report", "latest").stderr
    events = [json.loads(line)["event"] for line in store.cat_file(f"{run}/run.log.jsonl").splitlines()]
    assert events.count("run_started") == 4
    again = command("run", "-m", "pos_lines", sales)
    assert again.summary["delivery"]["unchanged"] == 2
    review = json.loads(store.cat_file(f"{again.summary['run_dir']}/review.json"))
    assert review["previous"]["run_id"] == prepared.summary["run_id"]
    assert command("void", prepared.summary["run_id"], "--yes").code == 0
    assert list(copies.rglob("*.parquet")) == []
    assert open_to_others(copies / f"omneo-import-{os.getuid()}") == []


def test_forgetting_and_pruning_reach_what_is_in_the_store(
    command: Command, store: Any, bucket: str, tmp_path: Path
) -> None:
    person = "bea@example.com"
    rows = [row for n in range(19) for row in receipt(n)] + receipt("hers", customer_email=person)
    sales = write_export(tmp_path / "sales.csv", rows)
    run = command("run", "-m", "pos_lines", sales).summary["run_dir"]
    # As a version before might have: the log of this one names nobody.
    log = store.cat_file(f"{run}/run.log.jsonl")
    store.pipe_file(f"{run}/run.log.jsonl", log + f'{{"event": "notice", "message": "{person}"}}\n'.encode())
    assert holding(person, store, run) == ["effects_before.json", "run.log.jsonl", "part-00000.parquet"]
    forgotten = command("forget", "--profile", person, "--yes")
    assert forgotten.summary["runs"][0]["staged"]
    assert holding(person, store, run) == []
    assert command("prune", "--older-than", "0s", "--dry-run").summary["runs"][0]["files"]
    assert "staged/part-00000.parquet" in names(store, bucket)
    assert command("prune", "--older-than", "0s", "--yes").code == 0
    left = ["facts.json", "manifest.json", "report.html", "report.json", "review.json", "run.log.jsonl"]
    assert names(store, bucket) == left
    assert command("load", "latest").code == 2
    assert command("status", "latest").summary["delivery"]["delivered"] == 20


def test_without_a_ledger_elsewhere_it_is_refused(bucket: str, tmp_path: Path) -> None:
    result = call("prepare", "-m", "pos_lines", "--workdir", bucket, export(tmp_path / "sales.csv", 3))
    assert result.code == 2
    assert "--ledger" in result.stderr


def test_a_store_that_cannot_be_written_is_reported_before_any_work(tmp_path: Path, store: Any) -> None:
    where = ("--workdir", "s3://no-such-bucket-at-all/x", "--ledger", tmp_path / "l.sqlite")
    result = call("prepare", "-m", "pos_lines", *where, export(tmp_path / "sales.csv", 3))
    assert result.code == 2
    assert "The working directory s3://no-such-bucket-at-all/x cannot be" in result.stderr


def test_a_run_that_fails_leaves_nothing_in_the_store(
    command: Command, store: Any, bucket: str, tmp_path: Path
) -> None:
    (tmp_path / "sales.csv").write_text("no,such\n1,2\n", encoding="utf-8")
    assert command("prepare", "-m", "pos_lines", tmp_path / "sales.csv").code == 2
    assert names(store, bucket) == []


def test_a_process_that_is_killed_leaves_no_copy_and_the_next_one_goes_on(
    bucket: str, s3_environment: dict[str, str], tmp_path: Path, copies: Path, omneo: LocalOmneo
) -> None:
    where = ("--workdir", bucket, "--ledger", tmp_path / "l.sqlite", "--json")
    env = {**s3_environment, **omneo.environment(), "TMPDIR": str(copies)}
    omneo.set_faults(latency_s=0.05)
    process = start("run", "-m", "pos_lines", *where, export(tmp_path / "sales.csv", 200), env=env)
    wait_for(lambda: omneo.stats()["requests"] > 10)
    assert call("load", "latest", *where, env=env).code == 6
    process.kill()
    process.communicate()
    wait_for(lambda: not parquet_files(copies))
    assert call("load", "latest", *where, env=env).summary["delivery"]["delivered"] == 200
    assert parquet_files(copies) == []


def parquet_files(directory: Path) -> list[str]:
    """Those below a directory, also while others remove directories in it."""
    return [name for _, _, names in os.walk(directory) for name in names if name.endswith(".parquet")]


def test_two_machines_do_not_work_on_one_run_at_a_time(
    bucket: str,
    postgres: str,
    s3_environment: dict[str, str],
    store: Any,
    tmp_path: Path,
    omneo: LocalOmneo,
) -> None:
    where = ("--workdir", bucket, "--ledger", postgres, "--json")
    env = {**s3_environment, **omneo.environment()}
    omneo.set_faults(latency_s=0.05)
    sales = export(tmp_path / "sales.csv", 400)
    assert call("prepare", "-m", "pos_lines", *where, sales).code == 0
    elsewhere = tmp_path / "elsewhere"  # another machine has other temporary files
    elsewhere.mkdir()
    loading = start("load", "latest", *where, env={**env, "TMPDIR": str(elsewhere)})
    wait_for(lambda: omneo.stats()["requests"] > 10)
    assert call("retry", "latest", *where, env=env).code == 6
    beside = call("load", "latest", *where, env=env)
    first = ended(loading)
    assert (beside.code, first.code) == (0, 0), beside.stderr + first.stderr
    assert first.summary["delivery"]["delivered"] == 400
    log = store.cat_file(f"{first.summary['run_dir']}/run.log.jsonl").splitlines()
    assert [json.loads(line)["event"] for line in log].count("run_finished") == 3
