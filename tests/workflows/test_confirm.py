"""`confirm` as people see it: what differs by field, what is not kept, and what helps."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import httpx
import pytest

from pipeline.simulator import Faults, SimulatorSettings
from pipeline.testing import LocalOmneo
from tests.command import Ended, call
from tests.receipts import receipt, write_export

pytestmark = pytest.mark.slow


@pytest.fixture
def omneo_settings() -> SimulatorSettings:
    return SimulatorSettings(unknown_profiles="enrol", faults=Faults(list_ids="many", job_delay_s=0))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_export(tmp_path / "pos_lines.csv", [row for n in range(12) for row in receipt(f"1{n:03d}")])


def omneo_import(command: str, *arguments: object, omneo: LocalOmneo, home: Path) -> Ended:
    return call(command, *arguments, "--workdir", home, "--json", env=omneo.environment())


def test_fields_that_differ_or_are_not_kept_are_counted_and_listed(
    omneo: LocalOmneo, source: Path, tmp_path: Path
) -> None:
    home = tmp_path / "w"
    omneo.set_faults(unkept_fields="staff_id")
    assert omneo_import("run", "-m", "pos_lines", source, omneo=omneo, home=home).code == 0
    omneo.drain()
    kept = omneo_import("confirm", "latest", omneo=omneo, home=home)
    assert kept.code == 0
    assert (kept.summary["confirmed"], kept.summary["differing"]) == (12, 0)
    report = json.loads((Path(kept.summary["run_dir"]) / "report.json").read_text())
    assert "staff_id" in report["fields"]["not_kept"]
    assert "staff_id" in report["verdict"]["next"]
    assert "staff_id was sent and is not kept by Omneo, in 12 transactions" in kept.stderr

    there = omneo.transactions()[7]
    headers = {"Authorization": f"Bearer {omneo.token}"}
    with httpx.Client(base_url=omneo.base_url, headers=headers, trust_env=False) as api:
        api.put(
            f"/transactions/{there['id']}", json={"total": 99.5, "receipt_ref": "other"}
        ).raise_for_status()
    differing = omneo_import("confirm", "latest", omneo=omneo, home=home)
    assert differing.code == 4
    assert "total differs in 1 transaction" in differing.stderr
    with (Path(kept.summary["run_dir"]) / "undelivered.csv").open(encoding="utf-8") as file:
        rows = {row["field"]: row for row in csv.DictReader(file)}
    assert rows.keys() == {"total", "receipt_ref"}
    assert {row["external_id"] for row in rows.values()} == {there["external_id"]}
    assert (rows["total"]["value"], rows["total"]["message"]) == ("5.0", "Omneo has 99.5")
    shown = omneo_import("status", "latest", omneo=omneo, home=home)
    assert shown.code == 0
