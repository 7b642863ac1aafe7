"""The same sales from every kind of file that they may come in, and however they are spread over files."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from pipeline.workflows.preparation import input_splits
from tests.command import REPOSITORY, SAMPLE, call
from tests.receipts import Row, receipt, write_export
from tests.workbooks import workbook

pytestmark = pytest.mark.slow

MAPPING = (REPOSITORY / "mappings" / "pos_lines.yaml").read_text(encoding="utf-8")


def staged(summary: dict[str, Any]) -> dict[str, bytes]:
    """Bodies by external id."""
    parts = sorted(Path(summary["run_dir"], "staged").glob("*.parquet"))
    return dict(
        row for part in parts for row in pl.read_parquet(part, columns=["external_id", "body"]).iter_rows()
    )


def reasons(summary: dict[str, Any]) -> pl.DataFrame:
    return pl.read_parquet(Path(summary["run_dir"]) / "quarantine" / "*.parquet")


def prepared(tmp_path: Path, *sources: object, mapping: object = "pos_lines") -> dict[str, Any]:
    result = call("prepare", "-m", mapping, *sources, "--workdir", tmp_path / "w", "--json")
    assert result.code == 0, result.stderr
    return result.summary


COUNTS = ("rows", "transactions", "dropped", "rejected", "warnings", "totals")


def assert_same(one: dict[str, Any], other: dict[str, Any], *, but: tuple[str, ...] = ()) -> None:
    compared = [key for key in COUNTS if key not in but]
    assert {key: one[key] for key in compared} == {key: other[key] for key in compared}
    assert staged(one) == staged(other)


def gzipped(path: Path) -> None:
    path.write_bytes(gzip.compress(SAMPLE.read_bytes()))


def zstandard(path: Path) -> None:
    with pa.CompressedOutputStream(str(path), "zstd") as out:
        out.write(SAMPLE.read_bytes())


def with_a_byte_order_mark(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + SAMPLE.read_bytes())


def with_crlf(path: Path) -> None:
    path.write_bytes(SAMPLE.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("pos_lines.csv.gz", gzipped),
        ("pos_lines.csv.zst", zstandard),
        ("pos_lines_bom.csv", with_a_byte_order_mark),
    ],
)
def test_the_sample_is_the_same_however_it_is_packed(
    name: str, write: Callable[[Path], None], tmp_path: Path
):
    write(tmp_path / name)
    assert_same(prepared(tmp_path, tmp_path / name), prepared(tmp_path, SAMPLE))


def test_line_ends_of_windows_change_no_count(tmp_path: Path):
    with_crlf(tmp_path / "pos_lines_crlf.csv")
    found, right = prepared(tmp_path, tmp_path / "pos_lines_crlf.csv"), prepared(tmp_path, SAMPLE)
    assert {key: found[key] for key in COUNTS} == {key: right[key] for key in COUNTS}
    assert sorted(reasons(found)["line"]) == sorted(reasons(right)["line"])


def test_parquet_gives_what_csv_gives(tmp_path: Path):
    rows = [row for n in range(9) for row in receipt(n, 1 + n % 3)]
    plain = write_export(tmp_path / "pos_lines.csv", rows)
    text = pl.read_csv(plain, infer_schema=False)
    text.write_parquet(tmp_path / "text.parquet")
    typed = text.with_columns(
        pl.col("quantity", "line_no").cast(pl.Int32),
        pl.col("sale_total", "unit_price", "rrp", "tax", "tender_amount").cast(pl.Decimal(12, 2)),
        pl.col("store_code").cast(pl.Categorical),
    )
    typed.write_parquet(tmp_path / "typed.parquet", row_group_size=4)
    right = prepared(tmp_path, plain)
    for name in ("text.parquet", "typed.parquet"):
        assert_same(prepared(tmp_path, tmp_path / name), right)


def test_excel_gives_what_csv_gives(tmp_path: Path):
    rows = [row for n in range(9) for row in receipt(n, 1 + n % 3)]
    text = write_export(tmp_path / "pos_lines.csv", rows).read_text("utf-8")
    head, *lines = csv.reader(text.splitlines())
    numbers = {"quantity", "line_no", "sale_total", "unit_price", "rrp", "tax", "tender_amount"}
    typed = [
        [float(cell) if name in numbers and cell else cell for name, cell in zip(head, line, strict=True)]
        for line in lines
    ]
    workbook(tmp_path / "pos_lines.xlsx", [head, *typed], {"sale_total": "#,##0.00"})
    assert_same(
        prepared(tmp_path, tmp_path / "pos_lines.xlsx"), prepared(tmp_path, tmp_path / "pos_lines.csv")
    )


def test_rows_of_a_workbook_are_fixed_as_csv_and_run_again(tmp_path: Path):
    text = write_export(tmp_path / "pos_lines.csv", [*receipt(1, 2), *receipt(2, 1)]).read_text("utf-8")
    table = [*csv.reader(text.splitlines())]
    sku = table[0].index("sku")
    table[2][sku], right = "#N/A", table[2][sku]
    path = workbook(tmp_path / "pos_lines.xlsx", table)
    broken = call("prepare", "-m", "pos_lines", path, "--workdir", tmp_path / "w", "--json").summary
    assert broken["rejected"] == {"malformed_row": 1, "row_lost": 1, "total_mismatch": 1}
    assert reasons(broken).filter(code="malformed_row").select("line", "external_id").rows() == [(3, None)]
    rows = Path(broken["run_dir"], "quarantine_rows.csv")
    fixed = tmp_path / "fixed.csv"
    fixed.write_text(rows.read_text("utf-8-sig").replace("#N/A", right), encoding="utf-8")
    found = staged(broken) | staged(prepared(tmp_path, fixed))
    assert found == staged(prepared(tmp_path, tmp_path / "pos_lines.csv"))


def test_files_globs_and_directories_name_the_same_export(tmp_path: Path):
    days = tmp_path / "days"
    days.mkdir()
    for day in range(3):
        write_export(days / f"pos_lines_{day}.csv", [row for n in range(2) for row in receipt(f"{day}{n}")])
    (days / "notes.txt").write_text("not for us")
    files = sorted(days.glob("pos_lines_*.csv"))
    right = prepared(tmp_path, *files)
    assert right["transactions"]["accepted"] == 6
    named_twice = (*reversed(files), files[0], days / "pos_lines_*.csv")
    for sources in ((days,), (days / "pos_lines_*.csv",), (days / "pos_lines_?.csv", files[1]), named_twice):
        assert_same(prepared(tmp_path, *sources), right)
    manifest = json.loads(Path(right["run_dir"], "manifest.json").read_text(encoding="utf-8"))
    assert [(Path(each["name"]).name, each["rows"]) for each in manifest["sources"]] == [
        (file.name, 4) for file in files
    ]


# ── Sales whose rows lie apart ──────────────────────────────────────────────────────────────────────


def test_a_sale_over_two_files_is_one_sale(tmp_path: Path):
    sales = [receipt(n, 3) for n in range(5)]
    right = prepared(tmp_path, write_export(tmp_path / "pos_lines_all.csv", [*chain(*sales)]))
    first: list[Row] = [row for sale in sales for row in sale[:2]]
    second: list[Row] = [row for sale in sales for row in sale[2:]]
    found = prepared(
        tmp_path,
        write_export(tmp_path / "pos_lines_a.csv", first),
        write_export(tmp_path / "pos_lines_b.csv", second),
    )
    assert_same(found, right)


def test_each_table_of_an_export_may_come_in_parts(tmp_path: Path):
    sample = SAMPLE.parent / "marketplace_tables"
    (tmp_path / "parts").mkdir()
    for file in sample.iterdir():
        header, *lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        half = len(lines) // 2
        for n, part in enumerate((lines[:half], lines[half:])):
            path = tmp_path / "parts" / f"{file.stem}_{n}.csv"
            path.write_text(header + "".join(part), encoding="utf-8")

    found = prepared(tmp_path, tmp_path / "parts", mapping="marketplace_tables")
    assert_same(found, prepared(tmp_path, sample, mapping="marketplace_tables"))


def test_overlapping_exports_count_the_rows_they_share_once(tmp_path: Path):
    sales = [receipt(n, 2) for n in range(6)]
    monday = write_export(tmp_path / "pos_lines_mon.csv", [*chain(*sales[:4])])
    tuesday = write_export(tmp_path / "pos_lines_tue.csv", [*chain(*sales[2:])])
    found = prepared(tmp_path, monday, tuesday)
    assert found["rows"] == {"read": 16, "malformed": 0, "duplicate": 4, "skipped": 0}
    assert found["warnings"]["duplicate_row"] == 2
    right = prepared(tmp_path, write_export(tmp_path / "pos_lines_all.csv", [*chain(*sales)]))
    assert_same(found, right, but=("rows", "warnings"))


def test_two_sales_with_one_id_are_both_rejected(tmp_path: Path):
    mapping = tmp_path / "by_receipt.yaml"
    mapping.write_text(
        MAPPING.replace('"{store_code}-{register}-{receipt_no}"', '"{receipt_no}"'), encoding="utf-8"
    )
    same = [receipt(1, store="A"), receipt(2, store="A"), receipt(1, store="B")]
    one_file = write_export(tmp_path / "pos_lines.csv", [*chain(*same)])
    far_apart = [write_export(tmp_path / f"pos_lines_{n}.csv", sale) for n, sale in enumerate(same)]
    for sources in ([one_file], far_apart):
        found = prepared(tmp_path, *sources, mapping=mapping)
        assert staged(found).keys() == {"R2"}
        assert found["rejected"] == {"external_id_conflict": 2}
        reported = reasons(found)
        assert set(reported["external_id"]) == {"R1"}
        assert reported.height == 2


def test_columns_are_found_by_name_whatever_their_order_in_each_file(tmp_path: Path):
    first = write_export(tmp_path / "pos_lines_1.csv", receipt(1))
    second = write_export(tmp_path / "pos_lines_2.csv", receipt(2))
    table = pl.read_csv(second, infer_schema=False)
    moved = tmp_path / "pos_lines_3.csv"
    table.select(*reversed(table.columns), pl.lit("x").alias("extra")).write_csv(moved)
    right = prepared(tmp_path, first, second)
    result = call("prepare", "-m", "pos_lines", first, moved, "--workdir", tmp_path / "w", "--json")
    assert "extra" in result.stderr
    assert staged(result.summary) == staged(right)
    assert result.summary["warnings"].get("unmapped_column") == 1


def test_a_file_that_changes_while_it_is_read_stages_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    source = write_export(tmp_path / "pos_lines.csv", receipt(1))
    read = input_splits.raw_rows

    def growing(*arguments: Any) -> Iterator[tuple[str, pl.DataFrame]]:
        yield from read(*arguments)
        with source.open("a", encoding="utf-8") as file:
            file.write("one more\n")

    monkeypatch.setattr(input_splits, "raw_rows", growing)
    result = call("prepare", "-m", "pos_lines", source, "--workdir", tmp_path / "w")
    assert (result.code, "was changed while it was read" in result.stderr) == (2, True)
    assert list((tmp_path / "w" / "runs").iterdir()) == []


def test_every_shipped_mapping_runs_its_sample_by_name(tmp_path: Path):
    shutil.copytree(REPOSITORY / "sample_data", tmp_path / "samples")
    for mapping in ("online_retail", "shopify_orders", "marketplace_tables", "nested_parquet"):
        samples = [*(tmp_path / "samples").glob(f"{mapping}*")]
        found = prepared(tmp_path, *samples, mapping=mapping)
        counts = found["transactions"]
        assert counts["read"] == counts["accepted"] + counts["dropped"] + counts["rejected"] > 0
