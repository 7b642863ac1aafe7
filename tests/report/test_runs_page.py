"""One page over all runs: each with its counts and worth, what is open, and a link to its report."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.testing import LocalOmneo
from tests.command import call, open_to_others
from tests.receipts import receipt, write_export


@pytest.mark.slow
def test_every_run_is_on_the_page_newest_first(omneo: LocalOmneo, tmp_path: Path):
    home = ("--workdir", tmp_path / "w", "--json")
    first = write_export(tmp_path / "pos_lines.csv", [*receipt(1, 2), *receipt(2, 1, sale_total="9.99")])
    sent = call("run", "-m", "pos_lines", first, *home, env=omneo.environment()).summary
    second = write_export(tmp_path / "pos_lines_2.csv", [row for n in range(3, 7) for row in receipt(n, 1)])
    waiting = call("prepare", "-m", "pos_lines", second, *home).summary

    ended = call("report", "--all", *home)
    page = tmp_path / "w" / "runs.html"
    assert ended.code == 0
    assert ended.summary["report"] == str(page)
    assert [run["run_id"] for run in ended.summary["runs"]] == [sent["run_id"], waiting["run_id"]]
    assert open_to_others(tmp_path / "w") == []

    text = page.read_text()
    links = re.findall(r'href="(runs/[^"]+)"', text)
    assert [link.split("/")[1] for link in links] == [waiting["run_id"], sent["run_id"]]
    assert all((tmp_path / "w" / link).exists() for link in links)
    assert "1 run has something open." in text
    worth = re.findall(r'data-h="Worth"><span>([^<]*)', text)
    assert worth == [f"AUD&nbsp;{run['totals']['accepted']}" for run in (waiting, sent)]
    assert "Most in one run AUD&nbsp;10.00; the same sales may be in several runs." in text
    assert "1 run of 2 with something open." in text
    assert "http://127.0.0.1" in text
    assert not re.search(r'(?:src|href)="(?:https?:)?//', text)


def test_no_runs_are_a_page_too(tmp_path: Path):
    ended = call("report", "--all", "--workdir", tmp_path / "w")
    assert (ended.code, (tmp_path / "w" / "runs.html").read_text().count("There are no runs yet.")) == (0, 1)


def test_a_run_or_all_must_be_named(tmp_path: Path):
    for wrong in ((), ("latest", "--all")):
        assert call("report", *wrong, "--workdir", tmp_path / "w").code == 2
