"""One row for each transaction of a run, with its source, its codes and what Omneo said of it."""

from __future__ import annotations

import csv
from pathlib import Path

import polars as pl
import pytest

from pipeline.testing import LocalOmneo
from pipeline.workflows.results import SCHEMA
from tests.command import call, open_to_others
from tests.receipts import receipt, write_export

ROWS = [
    *receipt(1, 2, customer_email=""),
    *receipt(2, 1, status="PARKED"),
    *receipt(3, 1, sale_total="9.99"),
    *receipt(4, 3, description='=HYPERLINK("x")'),
    *receipt(5, 1, quantity="many", unit_price="much"),
]


def read(path: Path) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["line"]: row for row in csv.DictReader(file)}


@pytest.mark.slow
def test_every_transaction_has_one_row(omneo: LocalOmneo, tmp_path: Path):
    source = write_export(tmp_path / "pos_lines.csv", ROWS)
    home = ("--workdir", tmp_path / "w", "--json")
    prepared = call("prepare", "-m", "pos_lines", source, *home).summary
    assert call("results", "latest", *home).summary == {
        "file": f"{prepared['run_dir']}/results.csv",
        "transactions": prepared["transactions"]["read"],
    }
    rows = read(Path(prepared["run_dir"]) / "results.csv")
    assert {line: (row["outcome"], row["state"]) for line, row in rows.items()} == {
        "2": ("accepted", "pending"),
        "4": ("dropped", ""),
        "5": ("rejected", ""),
        "6": ("accepted", "pending"),
        "9": ("rejected", ""),
    }
    assert {row["source"] for row in rows.values()} == {str(source)}
    assert rows["2"]["codes"] == "guest"
    assert rows["5"]["codes"] == "total_mismatch"
    assert {"price_invalid", "quantity_invalid"} <= set(rows["9"]["codes"].split(";"))
    assert rows["2"]["currency"] == "AUD"
    assert rows["2"]["total"] == "5.00"
    assert rows["2"]["transacted_at"].endswith("Z")
    assert open_to_others(tmp_path / "w") == []

    omneo.set_faults(refused_share=1)
    assert call("load", "latest", "--max-refused", "off", *home, env=omneo.environment()).code == 4
    output = tmp_path / "results.parquet"
    assert call("results", "latest", "-o", output, *home, env=omneo.environment()).code == 0
    table = pl.read_parquet(output)
    assert table.schema == SCHEMA
    accepted = table.filter(pl.col("outcome") == "accepted")
    assert accepted["state"].to_list() == ["refused", "refused"]
    assert accepted["http_status"].to_list() == [422, 422]
    assert accepted["server_message"].null_count() == 0

    omneo.set_faults(refused_share=0)
    assert call("retry", "latest", *home, env=omneo.environment()).code == 0
    call("confirm", "latest", *home, env=omneo.environment())
    assert call("results", "latest", *home, env=omneo.environment()).code == 0
    rows = read(Path(prepared["run_dir"]) / "results.csv")
    assert {rows[line]["state"] for line in "26"} <= {"confirmed", "differing"}


@pytest.mark.slow
def test_what_another_run_delivered_is_unchanged(omneo: LocalOmneo, tmp_path: Path):
    source = write_export(tmp_path / "pos_lines.csv", receipt(1, 2))
    home = ("--workdir", tmp_path / "w", "--json")
    for _ in range(2):
        last = call("run", "-m", "pos_lines", source, *home, env=omneo.environment())
        assert last.code == 0
    assert call("results", "latest", *home).code == 0
    (row,) = read(Path(last.summary["run_dir"]) / "results.csv").values()
    assert (row["outcome"], row["state"]) == ("accepted", "unchanged")


@pytest.mark.slow
def test_what_prune_removed_is_an_error_and_the_file_is_removed_too(tmp_path: Path):
    source = write_export(tmp_path / "pos_lines.csv", receipt(1, 2))
    home = ("--workdir", tmp_path / "w", "--json")
    run = Path(call("prepare", "-m", "pos_lines", source, *home).summary["run_dir"])
    for name in ("results.csv", "results.parquet"):
        assert call("results", "latest", "-o", run / name, *home).code == 0
    assert call("prune", "--older-than", "0d", "--force", "--yes", *home).code == 0
    assert not list(run.glob("results*"))
    pruned = call("results", "latest", *home)
    assert pruned.code == 2
    assert "prune" in pruned.stderr


def test_what_is_known_of_a_forgotten_person_is_not_kept_in_it(tmp_path: Path):
    source = write_export(tmp_path / "pos_lines.csv", receipt(1, 2))
    home = ("--workdir", tmp_path / "w", "--json")
    run = Path(call("prepare", "-m", "pos_lines", source, *home).summary["run_dir"])
    assert call("results", "latest", *home).code == 0
    assert call("forget", "--profile", "ann@example.com", "--yes", *home).code == 0
    assert not list(run.glob("results*"))
    assert call("results", "latest", *home).code == 0
    (row,) = read(run / "results.csv").values()
    assert (row["state"], row["currency"]) == ("forgotten", "")
