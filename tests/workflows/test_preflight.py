"""`preflight` as people see it: what would run, what is there already, and files of what is not known."""

from __future__ import annotations

import csv
from pathlib import Path

import httpx
import pytest

from pipeline.simulator import EXAMPLE_TRIGGERS, Faults, Profile, SimulatorSettings
from pipeline.testing import LocalOmneo
from tests.command import Ended, call
from tests.receipts import receipt, write_export

pytestmark = pytest.mark.slow


@pytest.fixture
def omneo_settings() -> SimulatorSettings:
    known = (Profile(email="ann@example.com"),)
    return SimulatorSettings(triggers=EXAMPLE_TRIGGERS, profiles=known, faults=Faults(job_delay_s=0))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    rows = [row for n in range(9) for row in receipt(f"1{n:03d}")]
    rows += receipt(2000, customer_email="new@example.com", store="S9")
    source = write_export(tmp_path / "pos_lines.csv", rows)
    assert call("prepare", "-m", "pos_lines", source, "--workdir", tmp_path / "w").code == 0
    return tmp_path / "w"


def preflight(omneo: LocalOmneo, home: Path) -> Ended:
    ended = call("preflight", "latest", "--workdir", home, "--json", env=omneo.environment())
    assert ended.code == 0, ended.stderr
    return ended


def rows_of(path: Path) -> list[dict[str, str]]:
    assert path.stat().st_mode & 0o077 == 0
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_what_would_run_and_what_is_not_known(omneo: LocalOmneo, home: Path) -> None:
    ended = preflight(omneo, home)
    assert ended.summary["reactions"] == [
        {"name": "Send receipt mail", "trigger": "transaction.created", "actions": ["target.send"]},
        {"name": "Points for every sale", "trigger": "transaction.created", "actions": ["points.award"]},
    ]
    assert ended.summary["already_there"] == {"sampled": 10, "found": 0}
    assert "Up to 10 sales would run them; 10 of the run's sales are older than 30 days" in ended.stderr
    assert omneo.stats()["arrivals"]["accepted"] == 0
    run = Path(ended.summary["run_dir"])
    assert rows_of(run / "new_locations.csv") == [
        {"location_id": "S1", "transactions": "9"},
        {"location_id": "S9", "transactions": "1"},
    ]
    assert rows_of(run / "unknown_profiles.csv") == [
        {"profile_id": "new@example.com", "profile_id_handle": "email"}
    ]
    forget = ["forget", "--profile", "new@example.com", "--yes", "--workdir", home]
    assert call(*forget).code == 0
    assert rows_of(run / "unknown_profiles.csv") == []
    assert call("prune", "--older-than", "0d", "--force", "--yes", "--workdir", home).code == 0
    assert not list(run.glob("*.csv"))


@pytest.mark.parametrize("status", [403, 404])
def test_a_tenant_that_does_not_list_its_triggers(omneo: LocalOmneo, home: Path, status: int) -> None:
    omneo.set_faults(triggers_status=status)
    assert preflight(omneo, home).summary["reactions"] is None


def test_sales_that_are_there_under_other_ids(omneo: LocalOmneo, home: Path) -> None:
    """An earlier import by other ids, one of them void, and one in another time zone."""
    env = omneo.environment()
    assert call("load", "latest", "--reactions", "allow", "--workdir", home, env=env).code == 0
    omneo.drain()
    assert preflight(omneo, home).summary["already_there"] == {"sampled": 10, "found": 0}, "these are ours"
    headers = {"Authorization": f"Bearer {omneo.token}"}
    sales = omneo.transactions()
    with httpx.Client(base_url=omneo.base_url, headers=headers, trust_env=False) as api:
        for number, sale in enumerate(sales[:4]):
            kept = ("total", "transacted_at", "receipt_ref")
            copy = {name: sale[name] for name in kept} | {"external_id": f"other-{number}", "items": []}
            copy |= [{}, {"is_void": True}, {"total": 99.0}, {"transacted_at": "2024-07-11 01:39:36"}][number]
            api.post("/transactions", json=copy).raise_for_status()
    assert preflight(omneo, home).summary["already_there"] == {"sampled": 10, "found": 2}
