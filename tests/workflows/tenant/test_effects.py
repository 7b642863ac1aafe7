"""Whether customers' lifetime spend rose by exactly what was imported, against the local Omneo."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.simulator import Faults, Profile, SimulatorSettings
from pipeline.testing import LocalOmneo
from pipeline.workflows.tenant.effects import SNAPSHOT_JSON
from tests.command import Ended, call
from tests.receipts import receipt, write_export

pytestmark = pytest.mark.slow

CUSTOMERS, SALES = 40, 3
KNOWN = tuple(Profile(email=f"customer{n}@example.com") for n in range(CUSTOMERS))


@pytest.fixture
def omneo_settings() -> SimulatorSettings:
    return SimulatorSettings(profiles=KNOWN, faults=Faults(job_delay_s=0))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rows = [
        row
        for n in range(CUSTOMERS * SALES)
        for row in receipt(
            f"1{n:03d}",
            price=f"{n % 7 + 1}.25",
            customer_email=KNOWN[n % CUSTOMERS].email or "",
        )
    ]
    return write_export(tmp_path / "pos_lines.csv", rows)


Command = Callable[..., Ended]


@pytest.fixture
def omneo_import(omneo: LocalOmneo, tmp_path: Path) -> Command:
    def command(*arguments: object) -> Ended:
        return call(*arguments, "--workdir", tmp_path / "w", "--json", env=omneo.environment())

    return command


@pytest.fixture
def load(omneo: LocalOmneo, omneo_import: Command, source: Path) -> Callable[..., None]:
    """Import all of it into a tenant with these faults."""

    def loaded(**faults: Any) -> None:
        omneo.set_faults(**faults)
        ended = omneo_import("run", "-m", "pos_lines", source)
        assert ended.code == 0, ended.stderr
        omneo.drain()

    return loaded


def sell(omneo: LocalOmneo, email: str, total: float, external_id: str) -> None:
    headers = {"Authorization": f"Bearer {omneo.token}"}
    sale = {
        "external_id": external_id,
        "total": total,
        "transacted_at": "2026-11-01 10:00:00",
        "profile_id": email,
        "profile_id_handle": "email",
    }
    with httpx.Client(base_url=omneo.base_url, headers=headers, trust_env=False) as api:
        api.post("/transactions", json=sale).raise_for_status()


def test_all_that_was_imported_and_nothing_else_is_in_the_figures(
    omneo: LocalOmneo, omneo_import: Command, load: Callable[..., None]
) -> None:
    sell(omneo, "customer3@example.com", 100.0, "before")  # it counts in what was before
    load()
    ended = omneo_import("confirm", "latest", "--effects")
    assert ended.code == 0, ended.stderr
    assert "Asks for the lifetime spend of 40 customers: 40 to 80 requests" in ended.stderr
    assert "40 of 40 sampled customers' lifetime spend rose by exactly what was imported" in ended.stderr
    effects = ended.summary["effects"]
    assert (effects["sampled"], effects["exact"], effects["differing"], effects["customers"]) == (
        40,
        40,
        0,
        [],
    )
    few = omneo_import("confirm", "latest", "--effects", "--profiles", 5)
    assert few.summary["effects"]["sampled"] == 5
    assert "effects" not in omneo_import("confirm", "latest").summary


@pytest.mark.parametrize(("fault", "effect"), [("lost_share", "lost"), ("doubled_share", "doubled")])
def test_what_was_lost_or_doubled_is_named(
    omneo: LocalOmneo, omneo_import: Command, load: Callable[..., None], fault: str, effect: str
) -> None:
    load(**{fault: 0.05})
    there = [each["external_id"] for each in omneo.transactions()]
    ended = omneo_import("confirm", "latest", "--effects")
    assert ended.code == 4
    effects = ended.summary["effects"]
    assert 0 < effects[effect] == effects["differing"] <= abs(CUSTOMERS * SALES - len(there))
    assert effects["exact"] == effects["sampled"] - effects[effect] > 30
    assert all("***" in each["customer"] for each in effects["customers"])
    assert "@example.com" not in ended.stderr + ended.stdout


def test_live_sales_beside_are_told_apart(
    omneo: LocalOmneo, omneo_import: Command, load: Callable[..., None]
) -> None:
    load()
    for number in range(3):
        sell(omneo, f"customer{number}@example.com", 7.5, f"live-{number}")
    ended = omneo_import("confirm", "latest", "--effects")
    assert ended.code == 0, ended.stderr
    effects = ended.summary["effects"]
    assert (effects["exact"], effects["other_sales"], effects["differing"]) == (37, 3, 0)


def test_figures_that_nobody_has_calculated_say_nothing_for_a_day(
    omneo: LocalOmneo, omneo_import: Command, load: Callable[..., None], tmp_path: Path
) -> None:
    load(aggregations_every_s=3_600)
    ended = omneo_import("confirm", "latest", "--effects")
    assert ended.code == 0, ended.stderr
    assert "not calculated yet" in ended.stderr
    assert ended.summary["effects"]["not_calculated"] == 40
    (record,) = (tmp_path / "w").glob("runs/*/review.json")
    kept = json.loads(record.read_text())
    (tenant,) = kept["tenants"]
    kept["tenants"][tenant]["sent_at"] = (datetime.now(UTC) - timedelta(hours=25)).isoformat()
    record.write_text(json.dumps(kept))
    late = omneo_import("confirm", "latest", "--effects")
    assert late.code == 4
    assert "a day after the last was sent" in late.stderr


def test_figures_that_were_calculated_in_the_middle_are_not_wrong(
    omneo: LocalOmneo, omneo_import: Command, source: Path
) -> None:
    omneo_import("prepare", "-m", "pos_lines", source)
    assert omneo_import("preflight", "latest").code == 0
    assert omneo_import("load", "latest", "--first", 60).code == 0
    omneo.drain()
    omneo.set_faults(aggregations_every_s=0.001)
    omneo_import("confirm", "latest", "--effects")
    omneo.set_faults(aggregations_every_s=3_600)
    assert omneo_import("load", "latest").code == 0
    omneo.drain()
    effects = omneo_import("confirm", "latest", "--effects")
    assert effects.code == 0, effects.stderr
    assert effects.summary["effects"]["not_calculated"] > 0
    assert effects.summary["effects"]["differing"] == 0


def test_a_void_takes_the_spend_back(
    omneo: LocalOmneo, omneo_import: Command, load: Callable[..., None]
) -> None:
    load()
    assert omneo_import("void", "latest", "--yes").code == 0
    omneo.drain()
    ended = omneo_import("confirm", "latest", "--effects")
    assert ended.code == 0, ended.stderr
    assert "nothing was sent" in ended.stderr


def test_without_figures_from_before_it_says_so(
    omneo_import: Command, load: Callable[..., None], tmp_path: Path
) -> None:
    load()
    (snapshot,) = (tmp_path / "w").glob(f"runs/*/{SNAPSHOT_JSON}")
    assert snapshot.stat().st_mode & 0o077 == 0
    snapshot.unlink()
    ended = omneo_import("confirm", "latest", "--effects")
    assert ended.code == 2
    assert "before" in ended.stderr


def test_a_person_is_forgotten_in_the_figures_too_and_prune_removes_them(
    omneo_import: Command, load: Callable[..., None], tmp_path: Path
) -> None:
    load()
    (snapshot,) = (tmp_path / "w").glob(f"runs/*/{SNAPSHOT_JSON}")
    assert "customer7@example.com" in snapshot.read_text()
    assert omneo_import("forget", "--profile", "customer7@example.com", "--yes").code == 0
    assert "customer7@example.com" not in snapshot.read_text()
    assert "customer8@example.com" in snapshot.read_text()
    assert omneo_import("prune", "--older-than", "0d", "--force", "--yes").code == 0
    assert not snapshot.exists()


def test_effects_and_resend_exclude_each_other(omneo_import: Command, load: Callable[..., None]) -> None:
    load()
    assert omneo_import("confirm", "latest", "--effects", "--resend").code == 2
