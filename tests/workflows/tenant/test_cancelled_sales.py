"""A sale that was delivered and that a later export cancels: named, or voided once, over several nights."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.codes import CODES
from pipeline.core.settings import connection_from_environment
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.loading.http.endpoints import ENDPOINTS
from pipeline.loading.ledger.entries import State
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.mapping.language.shipped import shipped_mapping
from pipeline.testing import LocalOmneo
from pipeline.workflows.load import load
from pipeline.workflows.prepare import PrepareOptions, prepare
from pipeline.workflows.runs.run_record import CommandResult
from pipeline.workflows.status import status
from pipeline.workflows.tenant.cancelled_sales import CANCELLED_CSV
from pipeline.workflows.tenant.open_run import Target
from pipeline.workflows.void import void
from tests.receipts import receipt, write_export

pytestmark = pytest.mark.slow

CODE = "cancelled_after_delivery"
Night = Callable[..., CommandResult]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "w"


@pytest.fixture
def night(omneo: LocalOmneo, home: Path, tmp_path: Path) -> Night:
    """Prepares an export, each written a day after the one before, and loads it."""
    connection = connection_from_environment(environ=omneo.environment())
    nights = 0

    def run(
        *rows: list[str], after_delivery: str = "report", day: int | None = None, **options: Any
    ) -> CommandResult:
        nonlocal nights
        nights += 1
        mapping = tmp_path / "pos_lines.yaml"
        keys = f"completion:\n  cancelled: [CANCELLED]\n  after_delivery: {after_delivery}\n"
        mapping.write_text(shipped_mapping("pos_lines").read_text().replace("completion:\n", keys))
        source = write_export(tmp_path / f"pos_lines_{nights}.csv", rows)
        written = 1_700_000_000 + 86_400 * (nights if day is None else day)
        os.utime(source, (written, written))
        assert prepare(home, str(mapping), [str(source)]).exit_code == 0
        ledger = options.pop("ledger", None)
        target = Target(home, "latest", connection, DeliveryOptions(**options), ledger=ledger)
        done = load(target)
        omneo.drain()
        return done

    return run


def cancelled(number: int) -> list[list[str]]:
    return receipt(number, status="CANCELLED")


def voided(omneo: LocalOmneo) -> list[str]:
    return sorted(each["external_id"] for each in omneo.transactions() if each.get("is_void"))


def listed(home: Path) -> list[tuple[str, str]]:
    (path,) = sorted((home / "runs").glob(f"*/{CANCELLED_CSV}"))[-1:]
    with path.open(newline="") as file:
        return [(row["external_id"], row["value"]) for row in csv.DictReader(file)]


def warned(result: CommandResult) -> int:
    return result.summary.warnings.get(CODE, 0)


def test_a_sale_that_is_cancelled_after_delivery_is_named(
    night: Night, omneo: LocalOmneo, home: Path
) -> None:
    assert warned(night(*receipt(1), *receipt(2), *cancelled(9))) == 0
    again = night(*receipt(1), *cancelled(2), *cancelled(9))
    assert (again.exit_code, warned(again), voided(omneo)) == (0, 1, [])
    assert listed(home) == [("S1-1-R2", "cancelled")]
    *_, last = status(home, "latest")
    assert last.summary.warnings[CODE] == 1
    page = (Path(last.summary.run_dir) / "report.html").read_text(encoding="utf-8")
    assert CODES[CODE].title in page


@pytest.mark.parametrize("endpoint", ["queue", "batch", "queue-create"])
def test_it_is_voided_once_where_the_mapping_says_so(
    night: Night, omneo: LocalOmneo, home: Path, endpoint: str
) -> None:
    how = {"after_delivery": "void", "endpoint": ENDPOINTS[endpoint]}
    night(*receipt(1), *receipt(2), **how)
    second = night(*receipt(1), *cancelled(2), **how)
    assert (second.exit_code, warned(second), voided(omneo)) == (0, 0, ["S1-1-R2"])
    arrivals = len(omneo.arrivals())
    third = night(*receipt(1), *cancelled(2), **how)
    assert (third.exit_code, warned(third), len(omneo.arrivals())) == (0, 0, arrivals)
    first, *_ = status(home, None)
    assert (first.summary.delivery.delivered, first.summary.delivery.voided) == (1, 1)


def test_what_the_run_of_two_nights_ago_delivered_is_voided(night: Night, omneo: LocalOmneo) -> None:
    night(*receipt(1))
    night(*receipt(1), *receipt(2))
    night(*cancelled(1), *cancelled(2), after_delivery="void")
    assert voided(omneo) == ["S1-1-R1", "S1-1-R2"]


def test_a_draft_is_named_and_not_voided(night: Night, omneo: LocalOmneo) -> None:
    night(*receipt(1))
    again = night(*receipt(1, status="DRAFT"), after_delivery="void")
    assert (warned(again), voided(omneo)) == (1, [])


def test_what_an_older_file_says_does_not_count(night: Night, omneo: LocalOmneo) -> None:
    night(*receipt(1))
    older = night(*cancelled(1), after_delivery="void", day=0)
    assert (warned(older), voided(omneo)) == (0, [])


def test_a_void_that_omneo_refuses_is_said_and_tried_again(night: Night, omneo: LocalOmneo) -> None:
    night(*receipt(1))
    omneo.set_faults(refused_share=1.0)
    failed = night(*cancelled(1), after_delivery="void")
    assert (failed.exit_code, warned(failed), voided(omneo)) == (4, 1, [])
    omneo.set_faults(refused_share=0.0)
    assert night(*cancelled(1), after_delivery="void").exit_code == 0
    assert voided(omneo) == ["S1-1-R1"]


def test_what_was_delivered_by_a_run_without_its_bodies_is_named(
    night: Night, omneo: LocalOmneo, home: Path
) -> None:
    night(*receipt(1))
    for part in home.glob("runs/*/staged/*"):
        part.unlink()
    left = night(*cancelled(1), after_delivery="void")
    assert (left.exit_code, warned(left)) == (0, 1)


def test_a_dry_run_asks_the_only_tenant_that_the_ledger_knows(
    night: Night, home: Path, tmp_path: Path
) -> None:
    night(*receipt(1))
    source = write_export(tmp_path / "pos_lines_later.csv", receipt(1, status="DRAFT"))
    found = prepare(home, "pos_lines", [str(source)])
    assert found.summary.warnings[CODE] == 1
    assert listed(home) == [("S1-1-R1", "draft")]


def test_another_tenant_has_nothing_that_was_cancelled(night: Night, home: Path, tmp_path: Path) -> None:
    night(*receipt(1))
    source = write_export(tmp_path / "pos_lines_later.csv", receipt(1, status="DRAFT"))
    found = prepare(
        home, "pos_lines", [str(source)], PrepareOptions(base_url="https://api.other.test/api/v3")
    )
    assert CODE not in found.summary.warnings


def test_it_is_voided_over_a_ledger_that_machines_share(
    night: Night, omneo: LocalOmneo, postgres: str
) -> None:
    night(*receipt(1), *receipt(2), ledger=postgres, part_size=1)
    second = night(*receipt(1), *cancelled(2), ledger=postgres, after_delivery="void")
    assert (second.exit_code, voided(omneo)) == (0, ["S1-1-R2"])


def test_nothing_is_voided_before_the_whole_run_is_sent(night: Night, omneo: LocalOmneo) -> None:
    night(*receipt(1))
    first = night(*cancelled(1), *receipt(2), *receipt(3), after_delivery="void", first=1)
    assert (warned(first), voided(omneo)) == (1, [])


def test_a_cancelled_sale_that_is_complete_after_all_is_sent_again(
    night: Night, omneo: LocalOmneo, home: Path
) -> None:
    night(*receipt(1), *receipt(2), after_delivery="void")
    night(*receipt(1), *cancelled(2), after_delivery="void")
    assert voided(omneo) == ["S1-1-R2"]
    back = night(*receipt(1), *receipt(2), *receipt(3), after_delivery="void")
    assert (back.exit_code, back.summary.delivery.delivered, voided(omneo)) == (0, 2, [])
    again = night(*receipt(3), *cancelled(2), after_delivery="void")
    assert (again.exit_code, voided(omneo)) == (0, ["S1-1-R2"])


def test_an_older_file_does_not_take_back_what_a_newer_one_cancelled(night: Night, omneo: LocalOmneo) -> None:
    night(*receipt(1), after_delivery="void", day=1)
    night(*cancelled(1), after_delivery="void", day=3)
    night(*receipt(1), *receipt(2), after_delivery="void", day=2)
    assert voided(omneo) == ["S1-1-R1"]


def test_what_a_person_undid_stays_undone(night: Night, omneo: LocalOmneo, home: Path) -> None:
    night(*receipt(1), after_delivery="void")
    void(Target(home, "latest", connection_from_environment(environ=omneo.environment())))
    omneo.drain()
    night(*receipt(1), *receipt(2), after_delivery="void")
    assert voided(omneo) == ["S1-1-R1"]


def test_a_sale_that_the_source_made_void_and_takes_back_is_not_void(night: Night, omneo: LocalOmneo) -> None:
    night(*receipt(1))
    night(*receipt(1, status="VOID"))
    assert voided(omneo) == ["S1-1-R1"]
    night(*receipt(1), *receipt(2))
    assert voided(omneo) == []


def test_what_the_source_made_void_is_neither_named_nor_voided_again(night: Night, omneo: LocalOmneo) -> None:
    night(*receipt(1, status="VOID"))
    arrivals = len(omneo.arrivals())
    again = night(*cancelled(1), after_delivery="void")
    assert (warned(again), len(omneo.arrivals())) == (0, arrivals)


def test_a_void_that_failed_is_made_up_for_by_a_night_that_does_not_name_the_sale(
    night: Night, omneo: LocalOmneo
) -> None:
    night(*receipt(1), *receipt(2))
    omneo.set_faults(refused_share=1.0)
    assert night(*cancelled(1), after_delivery="void").exit_code == 4
    omneo.set_faults(refused_share=0.0)
    later = night(*receipt(3), after_delivery="void")
    assert (later.exit_code, voided(omneo)) == (0, ["S1-1-R1"])
    arrivals = len(omneo.arrivals())
    assert night(*receipt(3), after_delivery="void").exit_code == 0
    assert len(omneo.arrivals()) == arrivals


@pytest.mark.parametrize("changed", [False, True])
def test_a_void_that_failed_is_not_made_up_for_where_the_sale_is_complete_again(
    night: Night, omneo: LocalOmneo, home: Path, changed: bool
) -> None:
    night(*receipt(1))
    omneo.set_faults(refused_share=1.0)
    night(*cancelled(1), after_delivery="void")
    omneo.set_faults(refused_share=0.0)
    cancelling = sorted((home / "runs").glob("*"))[-1].name
    night(*receipt(1, price="3.00" if changed else "2.50"), *receipt(2), after_delivery="void")
    assert voided(omneo) == []
    connection = connection_from_environment(environ=omneo.environment())
    load(Target(home, cancelling, connection))
    omneo.drain()
    assert voided(omneo) == []


@pytest.mark.parametrize("state", [State.IN_DOUBT, State.SENDING])
def test_a_sale_in_doubt_that_is_cancelled_is_named_and_voided(
    night: Night, omneo: LocalOmneo, home: Path, state: State
) -> None:
    night(*receipt(1))
    base_url = connection_from_environment(environ=omneo.environment()).base_url
    with SqlLedger(home / "ledger.sqlite", base_url) as ledger:
        record = ledger.find(["S1-1-R1"])["S1-1-R1"]
        ledger.record([record._replace(state=state, maybe_sent=True)])
    assert warned(night(*cancelled(1))) == 1
    assert night(*cancelled(1), *receipt(2), after_delivery="void").exit_code == 0
    assert voided(omneo) == ["S1-1-R1"]
