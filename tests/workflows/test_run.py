"""Runs and their reports: what is kept, what is masked, what is logged, and that the books are checked."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.core.errors import SettingsError
from pipeline.core.events import Event, Notice, ignore
from pipeline.core.settings import Limit, connection_from_environment
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.loading.delivery.stop import Stop
from pipeline.report.summary import AccountingError
from pipeline.report.verdict import judge
from pipeline.staging.partitions.cutting import cut
from pipeline.staging.workdir import Workdir
from pipeline.testing import LocalOmneo
from pipeline.workflows import confirm as confirm_workflow
from pipeline.workflows import prepare as prepare_workflow
from pipeline.workflows.confirm import confirm
from pipeline.workflows.load import load
from pipeline.workflows.preflight import preflight
from pipeline.workflows.preparation import input_splits
from pipeline.workflows.prepare import PrepareOptions, prepare
from pipeline.workflows.report import report as write_report_again
from pipeline.workflows.runs.run_record import CommandResult
from pipeline.workflows.status import status
from pipeline.workflows.tenant.open_run import Target
from tests.command import open_to_others
from tests.receipts import receipt, write_export

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "w"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three good sales, a draft and a row with too few cells."""
    rows = [*receipt(1), *receipt(2, status="DRAFT"), *receipt(3), *receipt(4), ["short", "row"]]
    return write_export(tmp_path / "pos_lines.csv", rows)


@pytest.fixture
def target(omneo: LocalOmneo, home: Path) -> Callable[..., Target]:
    connection = connection_from_environment(environ=omneo.environment())

    def make(reference: str = "latest", **others: Any) -> Target:
        return Target(home, reference, connection, DeliveryOptions(), ignore, Stop(), **others)

    return make


def prepared(home: Path, source: Path, **options: Any) -> CommandResult:
    return prepare(home, "pos_lines", [str(source)], PrepareOptions(**options), ignore)


def test_a_row_that_cannot_be_read_counts_for_the_gate(home: Path, source: Path):
    assert prepared(home, source, max_rejected=Limit("1", count=1)).exit_code == 0
    closed = prepared(home, source, max_rejected=Limit("0", count=0))
    assert closed.exit_code == 3
    assert closed.error is not None
    assert "More than 0 of run" in closed.error.message


def test_a_row_that_cannot_be_read_is_not_counted_beside_its_transaction(home: Path, tmp_path: Path):
    first, second = receipt(1)
    source = write_export(tmp_path / "pos_lines_ragged.csv", [first, [*second, "one more cell"]])
    found = prepared(home, source, max_rejected=Limit("1", count=1))
    assert (found.exit_code, found.summary.transactions.rejected, found.summary.rows.malformed) == (0, 1, 1)
    assert prepared(home, source, max_rejected=Limit("0", count=0)).exit_code == 3


@pytest.mark.parametrize(
    ("good", "rejected", "malformed", "limit", "code"),
    [
        (60, 20, 0, None, 0),  # a quarter, and not more
        (59, 20, 0, None, 3),
        (1, 19, 0, None, 0),  # too few to say anything
        (1, 20, 0, None, 3),
        (0, 1, 0, None, 3),  # all that there was
        (0, 0, 1, None, 3),
        (60, 0, 20, None, 0),  # 20 of 80: a row of no known sale counts as a sale that was read
        (59, 0, 20, None, 3),
        (59, 10, 10, None, 3),
        (0, 0, 0, None, 0),
        (0, 60, 0, Limit("100%", share=Decimal(1)), 0),
        (0, 0, 60, Limit("100%", share=Decimal(1)), 0),
        (0, 60, 0, Limit("60", count=60), 0),
        (1, 0, 1, Limit("50%", share=Decimal("0.5")), 0),
        (1, 0, 1, Limit("49%", share=Decimal("0.49")), 3),
    ],
)
def test_how_much_may_be_rejected(
    good: int, rejected: int, malformed: int, limit: Limit | None, code: int, home: Path, tmp_path: Path
):
    rows = [row for n in range(good) for row in receipt(n)]
    rows += [row for n in range(rejected) for row in receipt(1000 + n, sale_total="x")]
    rows += [["short", f"row {n}"] for n in range(malformed)]
    source = write_export(tmp_path / "pos_lines.csv", rows)
    ended = prepared(home, source, max_rejected=limit)
    assert ended.exit_code == code
    assert (ended.data.gate is not None and ended.data.gate.closed) == bool(code)


@pytest.mark.parametrize(("whole", "code"), [(60, 0), (59, 3)])
def test_a_row_of_a_known_sale_counts_by_that_sale(whole: int, code: int, home: Path, tmp_path: Path):
    rows = [row for n in range(whole) for row in receipt(n)]
    for n in range(20):
        first, second, third = receipt(1000 + n, lines=3)
        rows += [first, [*second, "one more cell"], [*third, "one more cell"]]
    ended = prepared(home, write_export(tmp_path / "pos_lines.csv", rows))
    assert (ended.summary.rows.malformed, ended.summary.transactions.rejected) == (40, 20)
    assert ended.exit_code == code


def test_a_closed_gate_says_which_limit_and_how_to_open_it(home: Path, tmp_path: Path):
    bad = [row for n in range(30) for row in receipt(n, sale_total="x")]
    mixed = write_export(tmp_path / "pos_lines_mixed.csv", [*receipt(99), *bad])
    most = prepared(home, mixed)
    assert most.error
    assert "More than 25% of run" in most.error.message
    assert "(30 of 31)" in most.error.message
    assert "--max-rejected: 100%" in most.error.hint
    assert "More than 25%" in judge(most.data).sentence
    assert "--max-rejected 100%" in judge(most.data).next
    all_of_it = prepared(home, write_export(tmp_path / "pos_lines_bad.csv", bad))
    assert all_of_it.error
    assert all_of_it.error.message.startswith("Nothing of run")
    assert judge(all_of_it.data).headline == "Not ready: nothing was accepted"


def test_a_dry_run_loads_neither_the_database_nor_the_network():
    code = "import sys, pipeline.workflows.prepare; print({'sqlalchemy', 'httpx'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_a_load_loads_nothing_of_mappings_and_webhooks():
    code = (
        "import sys, pipeline.workflows.load, pipeline.workflows.confirm, pipeline.workflows.preflight; "
        "print({'pipeline.mapping.language.spec', 'pandera', 'uvicorn'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_rows_that_get_lost_are_a_bug_that_stages_nothing(
    monkeypatch: pytest.MonkeyPatch, home: Path, source: Path
):
    def leaking(frames: Iterator[pl.DataFrame], partition_bytes: int, **_: bool) -> Iterator[pl.DataFrame]:
        return (piece[:-1] for piece in cut(frames, partition_bytes))

    monkeypatch.setattr(input_splits, "cut", leaking)
    with pytest.raises(AccountingError):
        prepared(home, source)
    assert Workdir.open(home).runs == []


def test_a_run_that_fails_leaves_no_directory_and_lets_go_of_the_workdir(
    monkeypatch: pytest.MonkeyPatch, home: Path, source: Path
):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(prepare_workflow, "write_report", full)
        with pytest.raises(SettingsError, match="cannot be written: No space left on device"):
            prepared(home, source)
    assert Workdir.open(home).runs == []
    assert prepared(home, source).exit_code == 0


def test_people_are_masked_in_the_report_unless_asked_for(home: Path, source: Path):
    report = Path(prepared(home, source).summary.report)
    assert "ann@example.com" not in report.read_text(encoding="utf-8")
    assert "ann@example.com" not in report.with_suffix(".json").read_text(encoding="utf-8")
    write_report_again(home, "latest", show_personal_data=True)
    assert "ann@example.com" in report.read_text(encoding="utf-8")
    write_report_again(home, "latest")
    assert "ann@example.com" in report.read_text(encoding="utf-8")
    write_report_again(home, "latest", show_personal_data=False)
    assert "ann@example.com" not in report.read_text(encoding="utf-8")


def test_the_log_of_a_run_tells_each_command_and_holds_no_person(
    home: Path, source: Path, target: Callable[..., Target]
):
    finished = prepared(home, source)
    load(target())
    text = Path(finished.summary.run_dir, "run.log.jsonl").read_text(encoding="utf-8")
    events = [json.loads(line) for line in text.splitlines()]
    started = [(each["event"], each["command"]) for each in events if "command" in each]
    assert started == [
        (event, command) for command in ("prepare", "load") for event in ("run_started", "run_finished")
    ]
    assert {each["run_id"] for each in events} == {finished.summary.run_id}
    assert [each["exit_code"] for each in events if each["event"] == "run_finished"] == [0, 0]
    assert "ann@example.com" not in text


def test_what_an_earlier_run_delivered_is_confirmed_for_both(
    home: Path, source: Path, target: Callable[..., Target], omneo: LocalOmneo
):
    for _ in range(2):
        prepared(home, source)
        loaded = load(target())
    assert loaded.summary.delivery.unchanged == 3
    omneo.drain()
    assert confirm(target()).summary.confirmed == 3
    (stands,) = status(home, "latest")
    assert stands.summary.confirmed == 3


def test_a_ledger_may_lie_elsewhere(home: Path, source: Path, target: Callable[..., Target], tmp_path: Path):
    prepared(home, source)
    elsewhere = tmp_path / "elsewhere.sqlite"
    assert load(target(ledger=elsewhere)).summary.delivery.delivered == 3
    assert elsewhere.stat().st_mode & 0o077 == 0
    assert not (home / "ledger.sqlite").exists()
    assert status(home, "latest", ledger=elsewhere)[0].summary.delivery.delivered == 3
    assert status(home, "latest")[0].summary.delivery.pending == 3
    assert open_to_others(home) == []


def test_confirm_names_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
    home: Path,
    source: Path,
    target: Callable[..., Target],
    omneo: LocalOmneo,
):
    prepared(home, source)
    omneo.set_faults(lost_share=1)
    load(target())
    omneo.drain()
    monkeypatch.setattr(confirm_workflow, "query", partial(confirm_workflow.query, patience_s=0))
    reported: list[Event] = []
    missing = confirm(Target(**{**vars(target()), "emit": reported.append}))
    assert (missing.exit_code, missing.summary.missing) == (4, 3)
    notices = [event.message for event in reported if isinstance(event, Notice)]
    assert [notice for notice in notices if notice.startswith("S1-1-R")] == [
        f"S1-1-R{n} is missing" for n in (1, 3, 4)
    ]


def test_preflight_joins_the_report_and_sends_no_transaction(
    home: Path, source: Path, target: Callable[..., Target], omneo: LocalOmneo
):
    prepared(home, source)
    asked = preflight(target())
    assert (asked.exit_code, omneo.arrivals()) == (0, [])
    titles = {finding.title: finding for finding in asked.data.preflight or ()}
    assert titles["Token"].good
    created = titles["Locations that would be created"]
    assert (created.good, list(created.evidence)) == (False, ["S1: 3 transactions"])
    again, _ = write_report_again(home, "latest")
    assert again.preflight == asked.data.preflight
