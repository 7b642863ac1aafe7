"""A cluster that shares an object store and PostgreSQL, and no disk: the same bytes, whatever dies."""

from __future__ import annotations

import json
import shlex
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.memory import Budget
from pipeline.testing import LocalOmneo
from tests.command import REPOSITORY, Ended, call, files_with
from tests.receipts import receipt, write_export
from tests.servers import DaskProcesses, arrived
from tests.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

FILES, RECEIPTS = 8, 400
PERSON = "ann@example.com"


@pytest.fixture
def sales(store: Any, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Sales in a store, some of them broken and one of them in two files, that make many partitions."""
    monkeypatch.setattr("pipeline.cli.options.Budget.of", lambda *_: Budget(partition_bytes=10_000))
    for part in range(FILES):
        rows = [row for n in range(part, RECEIPTS, FILES) for row in receipt(n, 1 + n % 3)]
        rows += receipt(f"bad-{part}", sale_total="broken")
        rows += [receipt("apart", 2)[part % 2]] if part < 2 else []
        path = write_export(tmp_path / "sales.csv", rows)
        store.put(str(path), f"{bucket}/sales/pos_lines_{part:02}.csv")
        path.unlink()
    return f"{bucket}/sales/*.csv"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where everything is that this process and the cluster's write on this machine."""
    (tmp_path / "client").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "client"))
    return tmp_path


Cluster = Callable[[], DaskProcesses]


@pytest.fixture
def new_cluster(home: Path, s3_environment: dict[str, str], omneo: LocalOmneo) -> Iterator[Cluster]:
    running: list[DaskProcesses] = []

    def start() -> DaskProcesses:
        own = {**s3_environment, "OMNEO_TOKEN": omneo.environment()["OMNEO_TOKEN"]}
        running.append(cluster := DaskProcesses(home / f"cluster-{len(running)}", own))
        cluster.add_worker()
        cluster.add_worker()
        return cluster

    yield start
    for each in running:
        each.close()


@pytest.fixture
def command(bucket: str, postgres: str, omneo: LocalOmneo) -> Callable[..., Ended]:
    def run(*arguments: object) -> Ended:
        where = ("--json", "--workdir", f"{bucket}/omneo", "--ledger", postgres)
        return call(*arguments, *where, env=omneo.environment())

    return run


def staged(store: Any, bucket: str) -> list[str]:
    store.invalidate_cache()
    return [each for each in store.find(f"{bucket}/omneo/runs") if "/staged/" in each]


def killed_when(condition: Callable[[], object], process: Any) -> threading.Thread:
    def watch() -> None:
        wait_for(condition, 240, 0.05)
        process.send_signal(signal.SIGKILL)

    watcher = threading.Thread(target=watch)
    watcher.start()
    return watcher


def as_the_page_says(cluster: str, bucket: str, postgres: str, omneo: LocalOmneo) -> list[Ended]:
    """Do what docs/scaling.md says to do on a cluster."""
    page = (REPOSITORY / "docs" / "scaling.md").read_text(encoding="utf-8").partition("## On a cluster")[2]
    block = page.split("```")[3]
    here = {
        "dask://scheduler:8786": cluster,
        "s3://acme-imports/omneo": f"{bucket}/omneo",
        "postgresql://omneo@db/ledger": postgres,
        "s3://acme-exports/pos/": f"{bucket}/sales/",
        "shop.yaml": "pos_lines",
    }
    for there, own in here.items():
        assert there in block
        block = block.replace(there, own)
    lines = [shlex.split(line) for line in block.splitlines()]
    settings = [each.partition("=") for line in lines if line[:1] == ["export"] for each in line[1:]]
    environment = {**omneo.environment(), **{name: value for name, _, value in settings}}
    commands = [line[1:] for line in lines if line[:1] == ["omneo-import"]]
    ends = [call(*each, "--json", env=environment) for each in commands]
    assert [each.code for each in ends] == [0, 0, 0], "".join(each.stderr for each in ends)
    return ends


def prepared_here(home: Path, sales: str) -> tuple[Path, dict[str, Any]]:
    """The run that one machine makes of the same sales, on a disk: its directory and its manifest."""
    local = call("prepare", "-m", "pos_lines", "--json", "--workdir", home / "local", sales)
    run = Path(local.summary["run_dir"])
    return run, json.loads((run / "manifest.json").read_bytes())


def assert_nothing_is_on_disks(home: Path, *secrets: str) -> None:
    """Check that neither client nor scheduler nor workers left anything of a run or of their credentials."""
    for private in home.glob("c*"):
        assert list(private.rglob("*.parquet")) == []
        for text in (PERSON, "R10", *secrets):
            assert files_with(text, private) == []


def test_after_the_death_of_scheduler_and_worker_the_bytes_are_the_same(
    command: Callable[..., Ended], new_cluster: Cluster, sales: str, store: Any, bucket: str, home: Path
) -> None:
    here, expected = prepared_here(home, sales)
    assert len(expected["parts"]) > 8

    cluster = new_cluster()
    lost = killed_when(lambda: len(staged(store, bucket)) >= 2, cluster.scheduler)
    ended = command("prepare", "-m", "pos_lines", "--engine", cluster.address, sales)
    lost.join()
    assert ended.code == 2
    assert "The Dask scheduler was lost" in ended.stderr
    cluster.close()

    cluster = new_cluster()
    lost = killed_when(lambda: len(staged(store, bucket)) >= 4, cluster.workers[0])
    prepared = command("prepare", "-m", "pos_lines", "--engine", cluster.address, sales)
    lost.join()
    assert prepared.code == 0, prepared.stderr
    run = prepared.summary["run_dir"]
    assert json.loads(store.cat_file(f"{run}/manifest.json"))["parts"] == expected["parts"]
    store.invalidate_cache()
    names = {each.partition("/runs/")[2] for each in store.find(f"{bucket}/omneo/runs")}
    assert {name.split("/")[0] for name in names} == {prepared.summary["run_id"]}
    assert {name.split("/")[1] for name in names} == {path.name for path in here.iterdir()}
    for name in ("quarantine.csv", "quarantine_rows.csv"):
        assert store.cat_file(f"{run}/{name}") == (here / name).read_bytes()
    assert_nothing_is_on_disks(home)


def test_what_the_page_says_needs_no_more_than_a_store_and_a_database(
    new_cluster: Cluster,
    postgres: str,
    sales: str,
    store: Any,
    bucket: str,
    home: Path,
    omneo: LocalOmneo,
    s3_environment: dict[str, str],
) -> None:
    _, expected = prepared_here(home, sales)
    prepared, loaded, confirmed = as_the_page_says(new_cluster().address, bucket, postgres, omneo)
    run = prepared.summary["run_dir"]
    assert json.loads(store.cat_file(f"{run}/manifest.json"))["parts"] == expected["parts"]
    assert loaded.summary["delivery"]["delivered"] == prepared.summary["transactions"]["accepted"]
    assert max(arrived(omneo).values()) == 1
    assert confirmed.summary["confirmed"] == loaded.summary["delivery"]["delivered"]
    log = [json.loads(line) for line in store.cat_file(f"{run}/run.log.jsonl").splitlines()]
    # Each worker's log is in the run's too.
    assert len([line for line in log if line["event"] == "stage_started" and line["stage"] == "load"]) == 3
    secrets = s3_environment["AWS_SECRET_ACCESS_KEY"], omneo.environment()["OMNEO_TOKEN"]
    assert_nothing_is_on_disks(home, *secrets)


def test_a_worker_without_credentials_says_so(
    command: Callable[..., Ended], home: Path, sales: str, s3_environment: dict[str, str]
) -> None:
    cluster = DaskProcesses(home / "cluster", {})
    try:
        cluster.add_worker(
            {name: s3_environment[name] for name in ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION")}
        )
        ended = command("prepare", "-m", "pos_lines", "--engine", cluster.address, sales)
    finally:
        with suppress(ProcessLookupError):
            cluster.close()
    assert ended.code == 2
    assert "On the Dask worker at tcp://127.0.0.1:" in ended.stderr
    assert "AWS_ACCESS_KEY_ID" in ended.stderr
