"""The ledger somewhere else than in the working directory, through the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.errors import WorkdirBusy
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.testing import LocalOmneo
from tests.command import call
from tests.receipts import export

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["file", "postgresql"])
def test_load_status_and_confirm_share_a_ledger_that_is_named(
    kind: str, request: pytest.FixtureRequest, workdir: Path, tmp_path: Path, omneo: LocalOmneo
) -> None:
    ledger = tmp_path / "ledger.sqlite" if kind == "file" else request.getfixturevalue("postgres")
    common = ("--json", "--workdir", workdir, "--ledger", ledger)
    sales, env = export(tmp_path / "sales.csv", 30), omneo.environment()
    assert call("prepare", "-m", "pos_lines", *common, sales).code == 0
    assert call("status", "latest", *common).summary["delivery"]["pending"] == 30
    assert call("load", "latest", *common, env=env).summary["delivery"]["delivered"] == 30
    assert call("status", "latest", *common).summary["delivery"]["delivered"] == 30
    assert call("confirm", "latest", *common, env=env).summary["confirmed"] == 30
    # Another working directory with the same ledger sends nothing twice.
    elsewhere = ("--json", "--workdir", tmp_path / "elsewhere", "--ledger", ledger)
    again = call("run", "-m", "pos_lines", *elsewhere, sales, env=env)
    assert again.summary["delivery"] == {
        **dict.fromkeys(("delivered", "refused", "failed", "pending", "in_doubt", "voided", "forgotten"), 0),
        "unchanged": 30,
    }
    assert not (workdir / "ledger.sqlite").exists()


def test_a_ledger_that_is_not_there_yet_is_not_made_by_looking(workdir: Path, tmp_path: Path) -> None:
    sales = export(tmp_path / "sales.csv", 3)
    ledger = tmp_path / "ledger.sqlite"
    call("prepare", "-m", "pos_lines", "--workdir", workdir, "--ledger", ledger, sales)
    assert call("status", "--workdir", workdir, "--ledger", ledger).code == 0
    assert not ledger.exists()


def test_the_address_is_shown_without_its_password(workdir: Path, tmp_path: Path) -> None:
    call("prepare", "-m", "pos_lines", "--workdir", workdir, export(tmp_path / "sales.csv", 3))
    ended = call("status", "--workdir", workdir, "--ledger", "postgresql://u:s3cret@127.0.0.1:1/d")
    assert ended.code == 2
    assert "postgresql://u:***@127.0.0.1:1/d cannot be opened" in ended.stderr
    assert "s3cret" not in ended.stdout + ended.stderr


def test_a_name_is_held_by_many_who_share_it_or_by_one(postgres: str) -> None:
    # Their keys are a negative number and a positive one.
    with SqlLedger(postgres) as one, SqlLedger(postgres) as other:
        with one.held("s3://sales/a", shared=True):
            with other.held("s3://sales/a", shared=True), other.held("s3://sales/v", shared=False):
                pass
            with pytest.raises(WorkdirBusy), other.held("s3://sales/a", shared=False):
                pass
        with (
            other.held("s3://sales/a", shared=False),
            pytest.raises(WorkdirBusy),
            one.held("s3://sales/a", shared=True),
        ):
            pass


def test_in_sqlite_holding_a_name_does_nothing(tmp_path: Path) -> None:
    with (
        SqlLedger(tmp_path / "ledger.db") as ledger,
        ledger.held("w", shared=False),
        ledger.held("w", shared=False),
    ):
        pass
