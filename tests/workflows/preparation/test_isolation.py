"""A unit that polars fails on is judged without the transactions at fault."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from pipeline.core.errors import CannotStart
from pipeline.core.model import KEY, LINE, SOURCE
from pipeline.workflows.preparation.isolation import Tables, unjudged
from pipeline.workflows.prepare import PrepareOptions, prepare

MAPPING = (
    "mapping: m\nsource: {layout: headers, key: [id]}\ntransaction:\n  external_id: id\n  total: total\n"
    "  transacted_at: {column: at, then: [{datetime: {formats: [iso]}}]}\n"
    "rules: [{code: odd, when: total * total * total * total < 0, message: less than nothing}]\n"
)


def tables(*odd: int, blank_key: int | None = None) -> dict[str, pl.DataFrame]:
    """Two rows a transaction; the cells of the rows `odd` are no numbers."""
    rows = pl.DataFrame({"cell": ["x" if n in odd else str(n) for n in range(40)]}).with_row_index(LINE)
    keys = (
        pl.when(pl.col(LINE) != pl.lit(blank_key)).then(pl.col(LINE) // 2) if blank_key else pl.col(LINE) // 2
    )
    return {
        "lines": rows.with_columns(
            pl.lit(0, pl.UInt32).alias(SOURCE), pl.col(LINE).cast(pl.Int64), keys.cast(pl.UInt64).alias(KEY)
        )
    }


def strictly(rows: Tables) -> pl.DataFrame:
    """Fails as polars does: for one cell, all of them."""
    return pl.concat(table.select(pl.col("cell").cast(pl.Int64)) for table in rows.values())


def test_whole_transactions_are_found() -> None:
    found = unjudged(tables(5, 20, 21), strictly)
    assert found is not None
    assert sorted(found.rows[LINE]) == [4, 5, 20, 21]
    message = found.rows["message"][0]
    assert message.startswith("conversion from `str` to `i64` failed")
    assert "x" not in message.split()


def test_a_row_without_a_key_stands_for_itself() -> None:
    found = unjudged(tables(5, blank_key=5), strictly)
    assert found is not None
    assert found.rows[LINE].to_list() == [5]


def test_cells_are_blanked_but_those_that_say_what_belongs_together() -> None:
    rows = tables(5)
    found = unjudged(rows, strictly)
    assert found is not None
    assert found.blanked(rows, ())["lines"]["cell"][3:7].to_list() == ["3", None, None, "6"]
    assert found.blanked(rows, ("cell",))["lines"].equals(rows["lines"])


def test_what_fails_without_any_row_is_nobodys_fault() -> None:
    def broken(_rows: Tables) -> None:
        raise ValueError("no row has to do with it")

    assert unjudged(tables(), broken) is None


@pytest.mark.slow
def test_of_many_at_fault_no_neighbour_is_taken_for_one() -> None:
    odd = range(0, 1200, 3)
    rows = pl.DataFrame({"cell": ["x" if n in odd else str(n) for n in range(1200)]}).with_row_index(LINE)
    rows = rows.with_columns(
        pl.lit(0, pl.UInt32).alias(SOURCE),
        pl.col(LINE).cast(pl.Int64),
        pl.col(LINE).cast(pl.UInt64).alias(KEY),
    )
    found = unjudged({"lines": rows}, strictly)
    assert found is not None
    assert found.all_found
    assert found.rows[LINE].to_list() == [*odd]


@pytest.mark.slow
def test_more_than_can_be_looked_for_are_not_all_found() -> None:
    attempts = 0

    def counted(rows: Tables) -> None:
        nonlocal attempts
        attempts += 1
        strictly(rows)

    rows = pl.DataFrame({"cell": ["x"] * 5000}).with_row_index(LINE)
    rows = rows.with_columns(
        pl.lit(0, pl.UInt32).alias(SOURCE),
        pl.col(LINE).cast(pl.Int64),
        pl.col(LINE).cast(pl.UInt64).alias(KEY),
    )
    found = unjudged({"lines": rows}, counted)
    assert found is not None
    assert not found.all_found
    assert attempts < 3000


@pytest.mark.slow
def test_a_sale_that_cannot_be_judged_is_rejected_with_its_line_and_the_rest_goes_on(tmp_path: Path) -> None:
    mapping = tmp_path / "m.yaml"
    mapping.write_text(MAPPING)
    source = tmp_path / "s.csv"
    lines = [f"{n},{'9' * 11 if n in (3, 7) else n}.50,2024-01-01" for n in range(1, 10)]
    source.write_text("\n".join(["id,total,at", *lines]) + "\n")

    done = prepare(tmp_path / "w", str(mapping), [str(source)], PrepareOptions(), lambda _event: None)

    assert done.summary.transactions.accepted == 7
    assert done.summary.rejected == {"field_invalid": 2}
    written = pl.read_csv(next((tmp_path / "w").glob("runs/*/quarantine.csv")), infer_schema=False)
    assert written["line"].to_list() == ["4", "8"]
    assert written["external_id"].to_list() == ["3", "7"]
    assert json.loads(written["raw"][0])["total"] == "99999999999.50"
    assert "overflow" in written["message"][0]


@pytest.mark.slow
def test_where_a_mapping_fails_on_most_sales_it_is_an_error_of_the_mapping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.workflows.preparation.isolation._MOST", 3)
    mapping = tmp_path / "m.yaml"
    mapping.write_text(MAPPING)
    source = tmp_path / "s.csv"
    lines = [f"{n},{'9' * 11 if n % 2 else n}.50,2024-01-01" for n in range(1, 20)]
    source.write_text("\n".join(["id,total,at", *lines]) + "\n")
    with pytest.raises(CannotStart, match=r"s\.csv:\d+: this sale .* overflow .* doesn't fit"):
        prepare(tmp_path / "w", str(mapping), [str(source)], PrepareOptions(), lambda _event: None)
