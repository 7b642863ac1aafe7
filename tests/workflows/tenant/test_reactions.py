"""Old sales wait for a yes where the tenant would run triggers; a few first are sent and counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.simulator import EXAMPLE_TRIGGERS, SimulatorSettings
from pipeline.testing import LocalOmneo
from tests.command import Ended, call
from tests.receipts import receipt, write_export

pytestmark = pytest.mark.slow


@pytest.fixture
def omneo_settings() -> SimulatorSettings:
    """A tenant with two active triggers that run for an imported sale."""
    return SimulatorSettings(triggers=EXAMPLE_TRIGGERS, unknown_profiles="enrol")


def sales(path: Path, *, old: int, fresh: int) -> Path:
    now = datetime.now(UTC)
    moments = [now - timedelta(days=400, minutes=n) for n in range(old)]
    moments += [now - timedelta(days=2, minutes=n) for n in range(fresh)]
    rows = [
        row
        for number, moment in enumerate(moments)
        for row in receipt(f"{moment:%j}-{number}", 1, sale_datetime=f"{moment:%d/%m/%Y %H:%M:%S}")
    ]
    return write_export(path, rows)


def omneo_import(command: str, *arguments: object, omneo: LocalOmneo, home: Path) -> Ended:
    return call(command, *arguments, "--workdir", home, "--json", env=omneo.environment())


def asked(omneo: LocalOmneo) -> int:
    return int(omneo.stats()["requests"].get("GET /triggers", 0))


def test_history_is_held_until_it_is_allowed_for_its_run(omneo: LocalOmneo, tmp_path: Path):
    source, home = sales(tmp_path / "pos_lines.csv", old=30, fresh=3), tmp_path / "w"
    held = omneo_import("run", "-m", "pos_lines", source, omneo=omneo, home=home)
    assert held.code == 3
    for part in ("Send receipt mail", "target.send", "Points for every sale", "up to 33 transactions"):
        assert part in held.stderr
    assert "Old campaign" not in held.stderr
    assert held.summary["delivery"]["pending"] == 33
    assert omneo.stats()["arrivals"]["accepted"] == 0
    assert omneo_import("load", "latest", omneo=omneo, home=home).code == 3

    assert (
        omneo_import("load", "latest", "--first", 2, "--reactions", "allow", omneo=omneo, home=home).code == 0
    )
    done = omneo_import("load", "latest", omneo=omneo, home=home)
    assert (done.code, done.summary["delivery"]["delivered"]) == (0, 33)

    again = omneo_import("run", "-m", "pos_lines", source, omneo=omneo, home=home)
    assert (again.code, again.summary["delivery"]["unchanged"]) == (0, 33)


def test_a_night_with_a_few_late_sales_is_not_held(omneo: LocalOmneo, tmp_path: Path):
    source = sales(tmp_path / "pos_lines.csv", old=5, fresh=95)
    night = omneo_import("run", "-m", "pos_lines", source, omneo=omneo, home=tmp_path / "w")
    assert (night.code, night.summary["delivery"]["delivered"]) == (0, 100)


def test_the_age_can_be_set(omneo: LocalOmneo, tmp_path: Path):
    source, home = sales(tmp_path / "pos_lines.csv", old=10, fresh=0), tmp_path / "w"
    age = ("--historic-after", "900d")
    assert omneo_import("run", "-m", "pos_lines", source, *age, omneo=omneo, home=home).code == 0


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_tenant_that_does_not_say_is_a_warning(omneo: LocalOmneo, tmp_path: Path, status: int):
    omneo.set_faults(triggers_status=status)
    source, home = sales(tmp_path / "pos_lines.csv", old=3, fresh=0), tmp_path / "w"
    ended = omneo_import("run", "-m", "pos_lines", source, omneo=omneo, home=home)
    assert (ended.code, ended.summary["delivery"]["delivered"]) == (0, 3)
    assert f"GET /triggers was answered with {status}" in ended.stderr


def test_a_token_that_is_refused_when_asking_still_gives_the_summary(omneo: LocalOmneo, tmp_path: Path):
    source, home = sales(tmp_path / "pos_lines.csv", old=3, fresh=0), tmp_path / "w"
    assert omneo_import("prepare", "-m", "pos_lines", source, omneo=omneo, home=home).code == 0
    environment = {**omneo.environment(), "OMNEO_TOKEN": "sesame"}
    refused = call("load", "latest", "--workdir", home, "--json", env=environment)
    assert (refused.code, refused.summary["delivery"]["pending"]) == (5, 3)


def test_void_warns_and_goes_on(omneo: LocalOmneo, tmp_path: Path):
    source, home = sales(tmp_path / "pos_lines.csv", old=3, fresh=0), tmp_path / "w"
    allowed = omneo_import(
        "run", "-m", "pos_lines", source, "--historic-after", "900d", omneo=omneo, home=home
    )
    assert allowed.code == 0
    undone = omneo_import("void", "latest", "--yes", omneo=omneo, home=home)
    assert (undone.code, undone.summary["delivery"]["voided"]) == (0, 3)
    assert "may run active triggers in Omneo: Send receipt mail" in undone.stderr


@pytest.mark.usefixtures("without_patience")
def test_sales_that_are_sent_again_are_held_too(omneo: LocalOmneo, tmp_path: Path):
    source, home = sales(tmp_path / "pos_lines.csv", old=3, fresh=0), tmp_path / "w"
    age = ("--historic-after", "900d")
    omneo.set_faults(lost_share=1.0)
    assert omneo_import("run", "-m", "pos_lines", source, *age, omneo=omneo, home=home).code == 0
    omneo.set_faults(lost_share=0.0)
    held = omneo_import("confirm", "latest", "--resend", omneo=omneo, home=home)
    assert (held.code, held.summary["missing"]) == (3, 3)
    assert "Points for every sale" in held.stderr
    sent = omneo_import("confirm", "latest", "--resend", *age, omneo=omneo, home=home)
    assert sent.code == 4
    omneo.drain()
    last = omneo_import("confirm", "latest", omneo=omneo, home=home)
    assert last.code == 0, last.stderr


def test_a_few_first_end_well_and_cannot_be_spread(omneo: LocalOmneo, tmp_path: Path):
    source, home = sales(tmp_path / "pos_lines.csv", old=0, fresh=10), tmp_path / "w"
    few = omneo_import("run", "-m", "pos_lines", source, "--first", 3, omneo=omneo, home=home)
    assert (few.code, few.summary["delivery"]["delivered"], few.summary["delivery"]["pending"]) == (0, 3, 7)
    omneo.drain()
    assert [each["receipt_ref"] for each in omneo.transactions()]
    spread = omneo_import("load", "latest", "--first", 3, "--engine", "dask", omneo=omneo, home=home)
    assert spread.code == 2
