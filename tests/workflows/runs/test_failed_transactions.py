"""The list of what Omneo did not take: its words by field beside what was sent; gone once all is fixed."""

from __future__ import annotations

import csv
import json
import stat
from pathlib import Path

import pytest

from pipeline.loading.ledger.entries import Record, State
from pipeline.staging.manifest import read_manifest
from pipeline.staging.staged_run import StagedRun
from pipeline.staging.workdir import RunDir, Workdir
from pipeline.testing import LocalOmneo
from pipeline.workflows.runs.failed_transactions import UNDELIVERED_CSV, write_failed_transactions
from tests.command import SAMPLE, call
from tests.receipts import export

pytestmark = pytest.mark.slow


def listed(run: Path) -> list[dict[str, str]]:
    with (run / UNDELIVERED_CSV).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_what_was_refused_is_listed_until_it_is_mended(omneo: LocalOmneo, tmp_path: Path) -> None:
    home = ("--workdir", tmp_path / "w", "--json")
    source = export(tmp_path / "sales.csv", 40)
    omneo.set_faults(refused_share=0.2)
    first = call("run", "-m", "pos_lines", source, *home, env=omneo.environment())
    run, refused = Path(first.summary["run_dir"]), first.summary["delivery"]["refused"]
    found = listed(run)
    rows = [line.split(",") for line in source.read_text(encoding="utf-8").splitlines()]
    assert (first.code, len(found) > 0, len(found)) == (4, True, refused)
    assert f"listed in {run / UNDELIVERED_CSV}" in first.stderr
    assert stat.S_IMODE((run / UNDELIVERED_CSV).stat().st_mode) == 0o600
    for each in found:
        assert (each["outcome"], each["code"], each["field"]) == ("refused", "refused_422", "external_id")
        assert each["value"] == each["external_id"]
        assert each["external_id"] in each["raw"]
        assert "external id is invalid" in each["message"]
        assert each["source"] == str(source)
        start = next(n for n, row in enumerate(rows, 1) if row[0] == each["external_id"].rpartition("-")[2])
        assert each["line"] == str(start)
    cause = json.loads((run / "report.json").read_text(encoding="utf-8"))["causes"][0]
    assert (cause["outcome"], cause["title"], cause["transactions"]) == (
        "undelivered",
        "Refused by Omneo",
        refused,
    )
    assert cause["examples"][0]["line"] == int(found[0]["line"])
    page = (run / "report.html").read_text(encoding="utf-8")
    assert f'<a href="#causes">{refused} transactions refused by Omneo</a>' in page
    assert f'<a href="{UNDELIVERED_CSV}">' in page
    omneo.set_faults(refused_share=0.0)
    assert call("retry", "latest", *home, env=omneo.environment()).code == 0
    assert not (run / UNDELIVERED_CSV).exists()
    assert "refused by Omneo" not in (run / "report.html").read_text(encoding="utf-8")


def test_brackets_in_a_path_are_no_pattern(omneo: LocalOmneo, tmp_path: Path) -> None:
    workdir = tmp_path / "sales [2024] {1}*"
    omneo.set_faults(refused_share=0.2)
    ran = call("run", "-m", "pos_lines", SAMPLE, "--workdir", workdir, "--json", env=omneo.environment())
    run, transactions = Workdir(workdir).find("latest"), ran.summary["transactions"]
    assert (ran.code, transactions["rejected"] > 0) == (4, True)
    assert len((run.path / "quarantine.csv").read_text().splitlines()) > transactions["rejected"]
    assert all(each["external_id"] in each["raw"] for each in listed(run.path))
    rest = list(StagedRun(run.here, read_manifest(run)).batches(3))
    assert sum(map(len, rest)) == transactions["accepted"] - 3


@pytest.mark.parametrize(
    ("state", "words", "code", "field", "message"),
    [
        (State.FAILED, None, "failed_503", "", "It was given up after several tries; perhaps Omneo has it."),
        (State.REFUSED, '{"message": "=No."}', "refused_503", "", "'=No."),
        (State.REFUSED, '{"errors": {"items.0.x": ["A", "B"]}}', "refused_503", "items.0.x", "A B"),
        (State.MISSING, None, "missing", "", "Omneo took it and does not have it."),
        (State.IN_DOUBT, None, "in_doubt_503", "", "Whether Omneo has it is unknown."),
        (State.VOIDING, None, "voiding", "", "Whether it is void in Omneo is unknown."),
    ],
)
def test_each_state_has_words(
    tmp_path: Path, state: State, words: str | None, code: str, field: str, message: str
) -> None:
    home = ("--workdir", tmp_path / "w", "--json")
    prepared = call("prepare", "-m", "pos_lines", export(tmp_path / "sales.csv", 2), *home)
    run = Path(prepared.summary["run_dir"])
    row = Record("unknown", b"", state, 1, 1, 503, words)
    assert write_failed_transactions(RunDir(run), [row]) == 1
    (found,) = listed(run)
    assert (found["code"], found["field"], found["message"]) == (code, field, message)
