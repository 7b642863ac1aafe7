"""What a dry run keeps for its report besides counts."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from pipeline.core.findings import ANOMALY_KINDS
from pipeline.report.aggregates import nothing
from pipeline.staging.workdir import Workdir
from pipeline.validation.anomalies.observations import SKETCH, estimated_people
from pipeline.workflows.preparation.report_parts.report_sections import of_whole_run
from pipeline.workflows.runs import run_record
from tests.command import REPOSITORY, SAMPLE, call
from tests.receipts import receipt, write_export
from tests.validation.anomalies.shop import MONDAY, ordinary, unit


def test_a_store_that_lost_a_day_is_named_with_it() -> None:
    sales = ordinary(days=91, a_day=200, closed_on=(6,))
    lost = MONDAY + timedelta(days=45)
    left = [
        each
        for each in sales
        if (each["location_id"], each["transacted_at|local"].date()) != ("Fitzroy", lost)
    ]
    facts = of_whole_run(nothing(), unit(left))
    (gap,) = facts.gaps.rows(named=True)
    assert (gap["store"], gap["first"], gap["last"], gap["days"]) == ("Fitzroy", str(lost), str(lost), 1)
    assert gap["usual"] == pytest.approx(40, abs=10)
    assert set(facts.periods["period"]) == {"2024-04", "2024-05", "2024-06"}
    days = {row["store"]: row["days"] for row in facts.periods.filter(period="2024-05").iter_rows(named=True)}
    assert days == {"Brunswick": 27, "Carlton": 27, "Fitzroy": 26, "Richmond": 27, "St Kilda": 27}
    assert facts.hours["sales"].sum() == facts.periods["sales"].sum() == len(left)


def test_a_million_stores_by_mistake_are_not_kept() -> None:
    sales = [each | {"location_id": f"R{n}"} for n, each in enumerate(ordinary(days=35))]
    facts = of_whole_run(nothing(), unit([*sales, *(each | {"location_id": "big"} for each in sales[:5])]))
    assert facts.hours["store"].n_unique() == facts.periods["store"].n_unique() == 1_000
    assert "big" in facts.periods["store"]


def test_few_days_are_kept_by_day() -> None:
    facts = of_whole_run(nothing(), unit(ordinary(days=14)))
    assert set(facts.periods["days"]) == {1}
    assert facts.periods["period"].n_unique() == 12


def test_customers_are_counted_up_to_a_sample_and_estimated_beyond() -> None:
    few = unit(ordinary(days=28))
    facts = of_whole_run(nothing(), few)
    assert facts.people == facts.customers["customers"].sum() == few.people.height
    many = pl.DataFrame({"person": pl.int_range(200_000, eager=True).hash(seed=0)}).with_columns(
        sales=pl.lit(1, pl.Int64)
    )
    sampled = replace(few, people=many.bottom_k(SKETCH, by="person"))
    assert estimated_people(sampled) == pytest.approx(200_000, rel=0.05)


def test_everything_that_is_looked_for_is_documented() -> None:
    lines = (REPOSITORY / "docs" / "statistics.md").read_text(encoding="utf-8").splitlines()
    table = [line.split("|")[1] for line in lines if line.startswith("| `")]
    assert {code.strip(" `") for cell in table for code in cell.split(",")} == {*ANOMALY_KINDS}


@pytest.mark.slow
def test_samples_have_the_rows_that_they_were_read_from(tmp_path: Path) -> None:
    rows = [*receipt(1, 9, customer_email="ann@example.com"), *receipt(2, 1, customer_email="")]
    file = write_export(tmp_path / "till.csv", rows)
    assert call("prepare", "-m", "pos_lines", file, "--workdir", tmp_path / "w").code == 0
    run = Workdir(tmp_path / "w").find("latest")
    samples = {row["kind"]: row for row in run_record.read_facts(run).samples.iter_rows(named=True)}
    assert samples["sale"]["local"] == "2024-07-11 01:39"
    kept = json.loads(samples["sale"]["rows"])
    assert [(row["source"], row["line"]) for row in kept["rows"]] == [("till.csv", n) for n in range(2, 8)]
    assert kept["more"] == 3
    assert "customer_email" in kept["personal"]
    assert kept["rows"][0]["cells"]["sale_datetime"] == "11/07/2024 01:39:36"
    guest = json.loads(samples["guest"]["rows"])["rows"]
    assert [row["line"] for row in guest] == [11]
    assert "customer_email" not in guest[0]["cells"], "blank cells are left out"

    removed = call("forget", "--profile", "ann@example.com", "--yes", "--workdir", tmp_path / "w")
    assert removed.code == 0, removed.stderr
    assert run_record.read_facts(run).samples["kind"].to_list() == ["guest"]


@pytest.mark.slow
def test_a_run_is_compared_with_the_last_one_of_its_mapping(tmp_path: Path) -> None:
    first = write_export(tmp_path / "a.csv", [*receipt(1), *receipt(2, store="S2")])
    second = write_export(
        tmp_path / "b.csv", [*receipt(3), *receipt(4, store="S3"), *receipt(5, sale_total="x")]
    )
    work = ("--workdir", tmp_path / "w")
    assert call("prepare", "-m", "pos_lines", first, *work).code == 0
    assert call("prepare", "-m", "online_retail", REPOSITORY / "sample_data/online_retail", *work).code == 0
    assert call("prepare", "-m", "pos_lines", first, second, *work).code == 0
    oldest, other, newest = map(run_record.read, Workdir(tmp_path / "w").runs)
    assert oldest.previous is other.previous is None
    before = newest.previous
    assert before is not None
    assert (before.files, before.same_files, before.mapping_changed) == (1, 1, False)
    assert (before.transactions.accepted, before.totals["accepted"]) == (2, "10.00")
    assert ([*before.new_stores], [*before.gone_stores]) == (["S3"], [])


@pytest.mark.slow
def test_checks_that_are_not_made_say_why(tmp_path: Path) -> None:
    assert call("prepare", "-m", "pos_lines", SAMPLE, "--workdir", tmp_path / "w").code == 0
    record = run_record.read(Workdir(tmp_path / "w").find("latest"))
    checks = {check.code: check for check in record.checks}
    assert checks["total_mismatch"].severity == "reject"
    assert not checks["total_mismatch"].skipped
    assert checks["order_open"].skipped == "the mapping does not give which sales are open orders"
