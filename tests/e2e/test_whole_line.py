"""The main job over a real socket: an export becomes transactions in Omneo, once, and can be undone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.testing import LocalOmneo
from pipeline.workflows import confirm as confirm_workflow
from tests.command import (
    SAMPLE,
    SUMMARY_KEYS,
    Ended,
    call,
    ended,
    files_with,
    omneo_import,
    open_to_others,
    start,
)
from tests.reference import Right, expected

pytestmark = pytest.mark.slow


@pytest.fixture
def right() -> Right:
    """What the sample must give, by the slow reference."""
    return expected(SAMPLE, datetime.now(UTC))


def bodies_in(run_dir: str) -> dict[str, dict[str, Any]]:
    staged = pl.read_parquet(Path(run_dir) / "staged" / "*.parquet")
    return {
        id_: json.loads(body, parse_float=Decimal, parse_int=Decimal)
        for id_, body in staged.select("external_id", "body").iter_rows()
    }


def delivery(
    delivered: int = 0,
    unchanged: int = 0,
    refused: int = 0,
    failed: int = 0,
    pending: int = 0,
    voided: int = 0,
) -> dict[str, int]:
    return {
        "delivered": delivered,
        "unchanged": unchanged,
        "refused": refused,
        "failed": failed,
        "pending": pending,
        "in_doubt": 0,
        "voided": voided,
        "forgotten": 0,
    }


TIMES = {"started_at", "duration_s"}


def without_times(summary: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in summary.items() if key not in TIMES}


def assert_is_right(summary: dict[str, Any], right: Right) -> None:
    assert set(summary) == SUMMARY_KEYS
    assert summary["rows"] == {
        "read": right.rows,
        "malformed": len(right.malformed),
        "duplicate": right.duplicates,
        "skipped": 0,
    }
    accepted, dropped, rejected = (right.transactions[name] for name in ("accepted", "dropped", "rejected"))
    read = accepted + dropped + rejected
    assert summary["transactions"] == {
        "read": read,
        "accepted": accepted,
        "dropped": dropped,
        "rejected": rejected,
    }
    assert summary["dropped"] == right.dropped
    assert summary["rejected"] == right.rejected | {"malformed_row": len(right.malformed)}
    assert summary["warnings"]["guest"] == right.guests
    assert summary["warnings"]["transacted_at_ambiguous"] == right.ambiguous
    assert Decimal(summary["totals"]["accepted"]) == right.total


def assert_reasons_are_right(run_dir: Path, right: Right) -> None:
    quarantine = pl.read_parquet(run_dir / "quarantine" / "*.parquet")
    assert quarantine.columns == [
        *("outcome", "code", "field", "value", "message", "source", "line", "external_id", "raw")
    ]
    found: dict[str, set[str]] = {}
    for reason in quarantine.filter(pl.col("external_id").is_not_null()).iter_rows(named=True):
        found.setdefault(reason["external_id"], set()).add(reason["code"])
    assert found == right.reasons
    malformed = quarantine.filter(code="malformed_row")
    assert sorted(malformed["line"]) == right.malformed
    lines = SAMPLE.read_text(encoding="utf-8").split("\n")
    for line, raw in malformed.select("line", "raw").iter_rows():
        assert "\n".join(lines[line - 1 :]).startswith(raw + "\n")
    assert set(quarantine["source"]) == {str(SAMPLE)}
    for id_, line in quarantine.select("external_id", "line").drop_nulls().iter_rows():
        assert line == right.first_lines[id_]


def test_a_run_delivers_what_the_reference_says_once_and_keeps_its_secrets(
    omneo: LocalOmneo, right: Right, tmp_path: Path
):
    home = tmp_path / "home"
    first = omneo_import(
        "run", "-m", "pos_lines", SAMPLE, "--workdir", home, "--json", env=omneo.environment()
    )
    assert first.code == 0, first.stderr
    assert first.stdout.count("\n") == 1
    assert_is_right(first.summary, right)
    accepted = len(right.bodies)
    assert first.summary["delivery"] == delivery(delivered=accepted)
    assert first.summary["requests"] == {"sent": accepted, "retried": 0, "throttled": 0, "errors": 0}
    run_dir = Path(first.summary["run_dir"])
    assert run_dir == home / "runs" / first.summary["run_id"]
    assert bodies_in(first.summary["run_dir"]) == right.bodies
    assert_reasons_are_right(run_dir, right)

    names = {
        "manifest.json",
        "quarantine.csv",
        "report.html",
        "report.json",
        "run.log.jsonl",
        "staged",
        "quarantine",
    }
    assert names <= {path.name for path in run_dir.iterdir()}
    report = json.loads((run_dir / "report.json").read_text(encoding="utf-8"))
    assert {key: report[key] for key in SUMMARY_KEYS - TIMES} == without_times(first.summary)
    assert all(
        json.loads(line)["run_id"] == run_dir.name
        for line in (run_dir / "run.log.jsonl").read_text().splitlines()
    )

    assert {each.external_id for each in omneo.arrivals()} == set(right.bodies)

    again = omneo_import(
        "run", "-m", "pos_lines", SAMPLE, "--workdir", home, "--json", env=omneo.environment()
    )
    assert (again.code, again.summary["delivery"]) == (0, delivery(unchanged=accepted))
    assert again.summary["requests"]["sent"] == 0
    assert len(omneo.arrivals()) == accepted

    assert open_to_others(home) == []
    assert files_with(omneo.token, home) == []
    assert omneo.token not in first.stdout + first.stderr + again.stdout + again.stderr


def test_what_omneo_has_is_what_was_staged_oldest_first(omneo: LocalOmneo, right: Right, tmp_path: Path):
    home = ("--workdir", tmp_path / "w")
    # One at a time, for on the way side by side they may overtake each other.
    assert (
        call("run", "-m", "pos_lines", SAMPLE, *home, "--concurrency", 1, env=omneo.environment()).code == 0
    )
    times = [each.transacted_at for each in omneo.arrivals()]
    assert times == sorted(times)
    omneo.drain()
    there = {each["external_id"]: each for each in omneo.transactions()}
    assert there.keys() == right.bodies.keys()
    for id_, body in right.bodies.items():
        assert Decimal(str(there[id_]["total"])) == body["total"]
        assert len(there[id_]["items"]) == len(body["items"])
        assert bool(there[id_]["is_void"]) == body.get("is_void", False)


def test_after_a_run_it_is_confirmed_undone_and_shown(omneo: LocalOmneo, right: Right, tmp_path: Path):
    accepted, home = len(right.bodies), ("--workdir", tmp_path / "w")

    def do(*arguments: object, answer: str | None = None) -> Ended:
        return call(*arguments, *home, env=omneo.environment(), answer=answer)

    prepared = do("prepare", "-m", "pos_lines", SAMPLE, "--json")
    assert prepared.summary["delivery"] == delivery(pending=accepted)
    assert omneo.arrivals() == []
    run = prepared.summary["run_id"]

    asked = do("preflight", run, "--json")
    assert (asked.code, omneo.arrivals()) == (0, [])

    loaded = do("load", run[:-2], "--json")
    assert (loaded.code, loaded.summary["delivery"]) == (0, delivery(delivered=accepted))
    omneo.drain()

    confirmed = do("confirm", "latest", "--json")
    assert (confirmed.code, set(confirmed.summary)) == (0, SUMMARY_KEYS)
    assert [confirmed.summary[key] for key in ("confirmed", "missing", "differing")] == [accepted, 0, 0]

    status = do("status", run, "--json")
    assert set(status.summary) == SUMMARY_KEYS | {"tenant", "tenants"}
    assert status.summary["confirmed"] == accepted
    assert [each["run_id"] for each in do("status", "--json").summary["runs"]] == [run]
    assert run in do("status").stdout

    report = do("report", "latest")
    assert Path(report.stdout.strip()).read_text(encoding="utf-8").startswith("<!doctype html>")
    assert str(right.total) in do("report", "latest", "--format", "markdown").stdout.replace(",", "")

    assert "Nothing was voided" in do("void", run, answer="n\n").stdout
    assert len(omneo.arrivals()) == accepted
    unanswered = do("void", run, answer="")
    assert (unanswered.code, "--yes" in unanswered.stderr) == (2, True)
    voided = do("void", run, "--yes", "--json")
    sent = voided.summary["requests"]
    assert (voided.code, sent["sent"] - sent["retried"]) == (0, accepted)
    assert voided.summary["confirmed"] is None  # what was seen there has been changed since
    omneo.drain()
    assert len(omneo.transactions()) == accepted
    assert all(each["is_void"] for each in omneo.transactions())
    assert do("confirm", run).code == 0


def test_a_change_in_the_source_is_all_that_is_sent(omneo: LocalOmneo, right: Right, tmp_path: Path):
    home = ("--workdir", tmp_path / "w", "--json")
    export = tmp_path / "pos_lines_mended.csv"
    export.write_bytes(SAMPLE.read_bytes())
    first = call("run", "-m", "pos_lines", export, *home, env=omneo.environment())
    export.write_text(
        SAMPLE.read_text(encoding="utf-8").replace("Enamel mug, émail bleu", "Mug"), encoding="utf-8"
    )
    changed = {
        id_
        for id_, body in right.bodies.items()
        if "Enamel mug, émail bleu" in [item["name"] for item in body["items"]]
    }
    assert 0 < len(changed) < len(right.bodies)
    second = call("run", "-m", "pos_lines", export, *home, env=omneo.environment())
    assert (first.code, second.code) == (0, 0)
    assert second.summary["delivery"] == delivery(len(changed), len(right.bodies) - len(changed))
    assert {each.external_id for each in omneo.arrivals()[len(right.bodies) :]} == changed


def test_what_was_refused_is_sent_again_by_retry_only(omneo: LocalOmneo, right: Right, tmp_path: Path):
    home = ("--workdir", tmp_path / "w", "--json")
    omneo.set_faults(refused_share=0.1)
    run = call("run", "-m", "pos_lines", SAMPLE, *home, env=omneo.environment())
    refused = run.summary["delivery"]["refused"]
    assert run.code == 4
    assert 0 < refused < len(right.bodies) / 2
    assert run.summary["delivery"] == delivery(delivered=len(right.bodies) - refused, refused=refused)
    omneo.set_faults(refused_share=0)
    again = call("load", "latest", *home, env=omneo.environment())
    assert (again.code, again.summary["requests"]["sent"]) == (4, 0)
    fixed = call("retry", "latest", *home, env=omneo.environment())
    assert (fixed.code, fixed.summary["requests"]["sent"]) == (0, refused)
    assert fixed.summary["delivery"] == delivery(delivered=len(right.bodies))


def test_lost_jobs_are_found_and_sent_again(
    monkeypatch: pytest.MonkeyPatch, omneo: LocalOmneo, right: Right, tmp_path: Path
):
    monkeypatch.setattr(confirm_workflow, "query", partial(confirm_workflow.query, patience_s=0))
    home = ("--workdir", tmp_path / "w", "--json")
    omneo.set_faults(lost_share=0.02)
    assert call("run", "-m", "pos_lines", SAMPLE, *home, env=omneo.environment()).code == 0
    omneo.drain()
    lost = len(right.bodies) - len(omneo.transactions())
    assert lost > 0
    found = call("confirm", "latest", "--resend", *home, env=omneo.environment())
    assert (found.code, found.summary["missing"]) == (4, lost)
    assert call("load", "latest", *home, env=omneo.environment()).code == 0
    omneo.drain()
    fixed = call("confirm", "latest", *home, env=omneo.environment())
    assert (fixed.code, fixed.summary["confirmed"]) == (0, len(right.bodies))


@pytest.fixture
def rehearsal(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment for a simulator that runs as a process of its own."""
    process = start("simulate", "--db", tmp_path / "tenant.sqlite", env={"OMNEO_TOKEN": "t0ken"})
    try:
        assert process.stdout is not None
        name, _, url = process.stdout.readline().strip().partition("=")
        yield {name: url, "OMNEO_TOKEN": "t0ken"}
    finally:
        process.terminate()
        stopped = ended(process)
    assert (stopped.stdout, stopped.stderr) == ("", "")


def test_the_simulator_is_a_rehearsal(rehearsal: dict[str, str], right: Right, tmp_path: Path):
    home = ("--workdir", tmp_path / "w", "--json")
    run = call("run", "-m", "pos_lines", SAMPLE, *home, env=rehearsal)
    assert (run.code, run.summary["delivery"]) == (0, delivery(delivered=len(right.bodies)))
    confirmed = call("confirm", "latest", *home, env=rehearsal)
    assert (confirmed.code, confirmed.summary["confirmed"]) == (0, len(right.bodies))
