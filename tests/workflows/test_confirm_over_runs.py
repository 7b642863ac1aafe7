"""What `confirm` says of sales that were voided, sent again, forgotten, or delivered again by another run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.simulator import Faults, SimulatorSettings
from pipeline.testing import LocalOmneo
from tests.command import Ended, call
from tests.receipts import receipt, write_export

pytestmark = pytest.mark.slow


@pytest.fixture
def omneo_settings() -> SimulatorSettings:
    return SimulatorSettings(unknown_profiles="enrol", faults=Faults(job_delay_s=0))


class Desk:
    """A working directory with one tenant; each command gives its JSON."""

    def __init__(self, omneo: LocalOmneo, home: Path) -> None:
        self.omneo, self.home = omneo, home

    def do(self, command: str, *arguments: object) -> Ended:
        env = self.omneo.environment()
        ended = call(command, *arguments, "--workdir", self.home / "w", "--json", env=env)
        self.omneo.drain()
        return ended

    def run(self, sales: list[int], name: str = "pos_lines.csv", **cells: Any) -> Ended:
        rows = [row for n in sales for row in receipt(f"1{n:03d}", **cells)]
        source = write_export(self.home / name, rows)
        return self.do("run", "-m", "pos_lines", source, "--all-files")

    def report(self, ended: Ended) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((Path(ended.summary["run_dir"]) / "report.json").read_text())
        return found


@pytest.fixture
def desk(omneo: LocalOmneo, tmp_path: Path) -> Desk:
    return Desk(omneo, tmp_path)


def looked_up(ended: Ended) -> tuple[int, int, int]:
    return ended.summary["confirmed"], ended.summary["missing"], ended.summary["differing"]


def in_omneo(desk: Desk, ended: Ended) -> dict[str, tuple[int, str]]:
    """What the report counts as in Omneo: transactions and their worth, by state."""
    rows = desk.report(ended)["where"]
    return {row["name"]: (row["transactions"], row["worth"]) for row in rows if row["in_omneo"]}


def test_what_was_voided_is_counted_so_by_the_next_run_and_never_confirmed(desk: Desk) -> None:
    assert desk.run([0, 1, 2]).code == 0
    assert desk.do("void", "latest", "--yes").code == 0
    own = desk.do("confirm", "latest")
    assert (own.code, own.summary["confirmed"]) == (0, 0), "void, as it was sent, is not found as a sale"
    again = desk.run([0, 1, 2, 3])
    assert (again.code, again.summary["delivery"]["voided"], again.summary["requests"]["sent"]) == (0, 3, 1)
    found = desk.do("confirm", "latest")
    assert (found.code, looked_up(found)) == (4, (1, 0, 3))
    assert "S1-1-R1000 is differing in is_void" in found.stderr
    assert "as they were sent (AUD 5.00)" in found.stderr
    assert "all that was accepted is in Omneo" not in found.stderr
    assert in_omneo(desk, found) == {"Confirmed": (1, "5.00")}
    assert looked_up(desk.do("status", "latest")) == (1, 0, 3)
    assert desk.do("load", "latest", "--revive").code == 0
    assert not any(each.get("is_void") for each in desk.omneo.transactions())
    found = desk.do("confirm", "latest")
    assert (found.code, looked_up(found), found.summary["delivery"]["voided"]) == (0, (4, 0, 0), 0)


def test_what_another_run_voided_since_is_confirmed_no_more(desk: Desk) -> None:
    first = desk.run([0, 1, 2]).summary["run_id"]
    desk.run([0, 1, 2])
    assert looked_up(desk.do("confirm", "latest")) == (3, 0, 0)
    desk.do("void", first, "--yes")
    assert desk.do("status", "latest").summary["confirmed"] is None
    found = desk.do("confirm", "latest")
    assert (found.code, looked_up(found)) == (4, (0, 0, 3))
    verdict = desk.report(found)["verdict"]
    assert in_omneo(desk, found) == {}
    assert verdict["headline"] == "Voided in Omneo"
    assert "in Omneo they count for nothing" in verdict["sentence"]


def test_a_sale_that_someone_voided_in_omneo_has_no_worth_there(desk: Desk) -> None:
    desk.run([0, 1, 2])
    there = desk.omneo.transactions()[1]
    headers = {"Authorization": f"Bearer {desk.omneo.token}"}
    with httpx.Client(base_url=desk.omneo.base_url, headers=headers, trust_env=False) as api:
        api.put(f"/transactions/{there['id']}", json={"is_void": True}).raise_for_status()
    found = desk.do("confirm", "latest")
    assert (found.code, looked_up(found)) == (4, (2, 0, 1))
    assert in_omneo(desk, found) == {"Confirmed": (2, "10.00")}


@pytest.mark.usefixtures("without_patience")
def test_what_was_missing_and_sent_again_is_to_be_confirmed(desk: Desk) -> None:
    assert desk.run([0, 1, 2]).code == 0
    desk.omneo.reset()
    desk.omneo.set_faults(job_delay_s=0)
    found = desk.do("confirm", "latest", "--resend")
    assert found.code == 4
    assert "3 missing transactions were sent again" in found.stderr
    assert looked_up(found) == (0, 3, 0)
    assert looked_up(desk.do("status", "latest")) == (0, 0, 0)
    verdict = desk.report(found)["verdict"]
    assert "3 not looked up yet" in verdict["sentence"]
    assert in_omneo(desk, found) == {"Delivered": (3, "15.00")}
    assert "--resend" not in verdict["next"]
    assert " confirm " in verdict["next"]
    again = desk.do("confirm", "latest")
    assert (again.code, looked_up(again)) == (0, (3, 0, 0))


def test_a_confirm_that_fails_leaves_what_was_confirmed_and_asks_for_another(desk: Desk) -> None:
    run_id = desk.run([0, 1, 2]).summary["run_id"]
    desk.do("confirm", run_id)
    failed = call(
        *("confirm", run_id, "--workdir", desk.home / "w", "--json"),
        env={**desk.omneo.environment(), "OMNEO_TOKEN": "wrong"},
    )
    assert (failed.code, looked_up(failed)) == (5, (3, 0, 0))
    assert f"omneo-import confirm {run_id}" in desk.report(failed)["verdict"]["next"]
    assert desk.do("confirm", run_id).code == 0
    assert desk.do("status", run_id).summary["confirmed"] == 3


@pytest.mark.parametrize("how", ["forget", "replace"])
def test_what_a_run_cannot_confirm_any_more_is_said_and_not_asked_for(desk: Desk, how: str) -> None:
    first = desk.run([0, 1, 2]).summary["run_id"]
    if how == "replace":
        desk.run([1], "corrected.csv", staff_code="E9")
    else:
        rows = [*receipt("1000", customer_email="gone@example.com"), *receipt("1003"), *receipt("1004")]
        source = write_export(desk.home / "mixed.csv", rows)
        first = desk.do("run", "-m", "pos_lines", source).summary["run_id"]
        assert desk.do("forget", "--profile", "gone@example.com", "--yes").code == 0
    found = desk.do("confirm", first)
    assert found.code == 0
    verdict = desk.report(found)["verdict"]
    assert "cannot be confirmed any more" in verdict["headline"]
    assert ("replaced by another run since" if how == "replace" else "forgotten since") in verdict["sentence"]
    assert verdict["next"].startswith("Nothing: all was delivered")
    assert looked_up(desk.do("status", first)) == looked_up(found)
