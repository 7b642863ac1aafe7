"""One working directory and two tenants: what one has got says nothing of the other."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.simulator import SimulatorSettings
from pipeline.testing import LocalOmneo, local_omneo
from tests.command import Ended, call
from tests.receipts import export

pytestmark = pytest.mark.slow

SCHEMAS = Path(__file__).parents[1] / "loading" / "ledger" / "schemas"


@pytest.fixture
def other(omneo: LocalOmneo) -> Iterator[LocalOmneo]:
    """A second tenant with the same token."""
    settings = SimulatorSettings(token=omneo.token, unknown_profiles="enrol")
    with local_omneo(settings, job_delay_s=0) as running:
        yield running


class Office:
    def __init__(self, home: Path) -> None:
        self.exports = home / "exports"
        self.exports.mkdir()
        self.workdir = home / "w"
        source = export(self.exports / "pos_lines_1.csv", 10)
        os.utime(source, (time.time() - 86_400,) * 2)

    def command(self, tenant: LocalOmneo | None, *arguments: object) -> Ended:
        env = tenant.environment() if tenant else {}
        return call(*arguments, "--workdir", self.workdir, "--json", env=env)


@pytest.fixture
def desk(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_to_another_tenant_nothing_was_ever_sent(desk: Office, omneo: LocalOmneo, other: LocalOmneo) -> None:
    loaded = desk.command(omneo, "run", "-m", "pos_lines", desk.exports).summary
    assert loaded["delivery"]["delivered"] == 10
    run_id = loaded["run_id"]
    confirmed = desk.command(other, "confirm", run_id)
    assert confirmed.summary["confirmed"] == 0
    assert desk.command(other, "void", run_id, "--yes").summary["delivery"]["voided"] == 0
    assert desk.command(other, "retry", run_id).summary["requests"]["sent"] == 0
    assert other.arrivals() == []
    sent = desk.command(other, "load", run_id)
    assert (sent.code, sent.summary["delivery"]["delivered"]) == (0, 10)
    assert len(other.arrivals()) == len(omneo.arrivals()) == 10
    assert desk.command(other, "void", run_id, "--yes").summary["delivery"]["voided"] == 10
    assert not any(each.get("is_void") for each in omneo.transactions())


def test_a_folder_is_read_anew_for_another_tenant(desk: Office, omneo: LocalOmneo, other: LocalOmneo) -> None:
    for tenant in (omneo, other):
        taken = desk.command(tenant, "run", "-m", "pos_lines", desk.exports)
        assert (taken.code, taken.summary["delivery"]["delivered"]) == (0, 10)
        again = desk.command(tenant, "run", "-m", "pos_lines", desk.exports)
        assert "Nothing new" in again.stderr
    ambiguous = desk.command(None, "prepare", "-m", "pos_lines", desk.exports)
    assert ambiguous.summary["transactions"]["accepted"] == 10  # for which of both is not known


def test_status_says_whose_counts_they_are(desk: Office, omneo: LocalOmneo, other: LocalOmneo) -> None:
    run_id = desk.command(omneo, "run", "-m", "pos_lines", desk.exports).summary["run_id"]
    omneo_url, other_url = (f"{tenant.environment()['OMNEO_BASE_URL']}" for tenant in (omneo, other))
    alone = desk.command(None, "status", run_id)
    assert omneo_url in alone.stderr
    assert (alone.summary["tenant"], alone.summary["delivery"]["delivered"]) == (omneo_url, 10)
    asked = desk.command(other, "status", run_id).summary
    assert (asked["tenant"], asked["delivery"]["pending"]) == (other_url, 10)
    assert [(each["tenant"], each["delivery"]["delivered"]) for each in asked["tenants"]] == [
        (omneo_url, 10),
        (other_url, 0),
    ]
    desk.command(other, "load", run_id)
    table = desk.command(None, "status")
    assert omneo_url in table.stderr
    assert other_url in table.stderr
    assert [each["tenant"] for each in table.summary["runs"]] == [omneo_url, other_url]
    report = desk.command(omneo, "report", run_id)
    assert report.code == 0
    assert omneo_url in Path(report.summary["report"]).read_text(encoding="utf-8")


# ── A ledger of an older version ────────────────────────────────────────────────────────────────────


def make_old(workdir: Path, run_id: str, ids: list[tuple[str, bytes]]) -> None:
    """Put the ledger that an older version would have written in place of the present one."""
    path = workdir / "ledger.sqlite"
    path.unlink()
    for beside in workdir.glob("ledger.sqlite-*"):
        beside.unlink()
    with closing(sqlite3.connect(path)) as old:
        old.executescript((SCHEMAS / "3.sqlite.sql").read_text(encoding="utf-8"))
        old.executescript("DELETE FROM transactions; DELETE FROM files;")
        old.execute("UPDATE runs SET run_id = ?", (run_id,))
        old.execute("UPDATE parts SET size = 10, watermark = 10, all_delivered = 10, all_refused = 0")
        old.executemany(
            "INSERT INTO transactions VALUES (?, ?, 'delivered', 1, 200, NULL, NULL, 1, 1719792000)", ids
        )
        old.commit()


@pytest.fixture
def upgraded(desk: Office, omneo: LocalOmneo) -> str:
    """The id of a run that an older version delivered."""
    run_id = str(desk.command(omneo, "run", "-m", "pos_lines", desk.exports).summary["run_id"])
    with SqlLedger(desk.workdir / "ledger.sqlite") as ledger:
        (status,) = ledger.statuses()[run_id].values()
        assert status.delivered == 10
        names = [f"S1-1-R{number}" for number in range(1, 11)]
        found = ledger.find([each.external_id or "" for each in omneo.arrivals()])
    assert len(found) == len(names)
    make_old(desk.workdir, run_id, [(name, each.hash) for name, each in found.items()])
    return run_id


def test_an_older_ledger_belongs_to_the_first_tenant_that_answers(
    desk: Office, omneo: LocalOmneo, other: LocalOmneo, upgraded: str
) -> None:
    unknown = desk.command(None, "status", upgraded)
    assert (unknown.code, unknown.summary["tenant"]) == (0, "")
    loaded = desk.command(omneo, "load", upgraded)
    assert (loaded.code, loaded.summary["delivery"]["delivered"]) == (0, 10)
    assert "belongs to" in loaded.stderr
    assert "a copy is kept" in unknown.stderr + loaded.stderr
    assert len(omneo.arrivals()) == 10
    elsewhere = desk.command(other, "load", upgraded)
    assert "belongs to" not in elsewhere.stderr
    assert len(other.arrivals()) == 10


def test_a_tenant_that_refuses_the_token_does_not_get_an_older_ledger(
    desk: Office, omneo: LocalOmneo, upgraded: str
) -> None:
    env = omneo.environment() | {"OMNEO_TOKEN": "another-token-altogether"}
    refused = call("load", upgraded, "--workdir", desk.workdir, "--json", env=env)
    assert refused.code == 5
    outage = {"OMNEO_BASE_URL": "http://127.0.0.1:9/api/v3", "OMNEO_TOKEN": "x"}
    away = call("load", upgraded, "--workdir", desk.workdir, "--give-up-after", "0s", env=outage)
    assert away.code == 5
    with SqlLedger(desk.workdir / "ledger.sqlite") as ledger:
        assert ledger.tenants() == [""]


def test_a_run_of_every_night_knows_its_tenant_before_it_chooses_files(
    desk: Office, omneo: LocalOmneo, upgraded: str
) -> None:
    shutil.rmtree(desk.workdir / "runs" / upgraded / "staged")  # as `prune` does
    again = desk.command(omneo, "run", "-m", "pos_lines", desk.exports)
    assert (again.code, again.summary["delivery"]["unchanged"]) == (0, 10)
    assert "belongs to" in again.stderr
    assert len(omneo.arrivals()) == 10
