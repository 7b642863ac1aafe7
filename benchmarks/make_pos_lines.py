"""Make a point-of-sale export of any size: one row a line item, header cells repeated on every row.

    python -m benchmarks.make_pos_lines --receipts 1000000 --csv big.csv --parquet big.parquet

The same arguments always write the same rows, and a larger file begins with the rows of a smaller one.
Sales happen between 08:00 and 22:00, so none falls into an hour that the clock skips or repeats: tools
differ in what they do there, and here they are to do the same work.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

BLOCK = 100_000
FIRST_DAY = np.datetime64("2019-01-01", "ms")
DAYS = 6 * 365
STATUSES = (["COMPLETED"] * 86) + (["REFUND"] * 4) + (["VOID"] * 2) + (["DRAFT"] * 3) + (["PARKED"] * 2)
STATUSES += ["LAYBY"] * (100 - len(STATUSES))
LINES = (1, 1, 2, 2, 3, 4, 6)
MONEY = ("sale_total", "tender_amount", "rrp", "unit_price", "tax")
# fmt: off
COLUMNS = (
    "receipt_no", "store_code", "register", "sale_datetime", "status", "customer_email",
    "loyalty_card", "staff_code", "sale_total", "tender_type", "tender_amount", "line_no",
    "sku", "description", "quantity", "rrp", "unit_price", "tax",
)
# fmt: on


def blocks(receipts: int, seed: int) -> Iterator[pl.DataFrame]:
    """The rows, every cell a text, in blocks of whole receipts."""
    for number, first in enumerate(range(0, receipts, BLOCK)):
        count = min(BLOCK, receipts - first)
        dice = np.random.default_rng([seed, number])
        # All of a block is drawn, so that a receipt is the same whatever the size of the file.
        headers = _headers(dice, first)
        lines = _lines(dice, headers)
        yield _texts(headers[:count], lines.filter(pl.col("receipt") < first + count))


def _headers(dice: np.random.Generator, first: int) -> pl.DataFrame:
    pick = dice.integers
    store, person, known = pick(1, 200, BLOCK), pick(0, 300_000, BLOCK), dice.random(BLOCK)
    seconds = pick(0, DAYS, BLOCK) * 86_400 + pick(8 * 3600, 22 * 3600, BLOCK)
    receipt = np.arange(first, first + BLOCK)
    return pl.DataFrame(
        {
            "receipt": receipt,
            "store": store,
            "register": pick(1, 8, BLOCK),
            "at": FIRST_DAY + seconds * np.timedelta64(1000, "ms"),
            "status": np.array(STATUSES)[pick(0, 100, BLOCK)],
            "person": np.where(known < 0.7, person, -1),
            "card": np.where((known >= 0.35) & (known < 0.8), pick(0, 10**8, BLOCK), -1),
            "staff": store * 3 % 97,
            "tender_type": np.where(receipt % 3 == 0, "CASH", "EFTPOS"),
            "lines": np.array(LINES)[pick(0, len(LINES), BLOCK)],
        }
    )


def _lines(dice: np.random.Generator, headers: pl.DataFrame) -> pl.DataFrame:
    lines = headers.select(
        "receipt", "status", pl.int_ranges(1, pl.col("lines") + 1).alias("line_no")
    ).explode("line_no")
    product = dice.integers(0, 50_000, lines.height)
    rrp = 199 + product * 37 % 30_000
    paid = rrp * np.array([100, 100, 100, 90, 80])[dice.integers(0, 5, lines.height)] // 100
    quantity = np.array([1, 1, 1, 2, 3])[dice.integers(0, 5, lines.height)]
    sign = pl.when(pl.col("status") == "REFUND").then(-1).otherwise(1)
    return lines.with_columns(
        pl.Series("product", product),
        pl.Series("rrp", rrp),
        pl.Series("unit_price", paid),
        (pl.Series("quantity", quantity) * sign).alias("quantity"),
    )


def _texts(headers: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    sold = pl.col("quantity") * pl.col("unit_price")
    totals = lines.group_by("receipt").agg(sold.sum().alias("sale_total"))
    rows = lines.join(headers.drop("status"), on="receipt", maintain_order="left")
    rows = rows.join(totals, on="receipt", maintain_order="left")
    layby = pl.col("status") == "LAYBY"
    return rows.with_columns(
        (sold // 11).alias("tax"),
        pl.when(layby).then(pl.col("sale_total") // 5).otherwise("sale_total").alias("tender_amount"),
        _numbered("R", "receipt", 9).alias("receipt_no"),
        _numbered("ST", "store", 4).alias("store_code"),
        _numbered("S", "staff", 3).alias("staff_code"),
        _numbered("SKU", "product", 5).alias("sku"),
        pl.col("at").dt.strftime("%d/%m/%Y %H:%M:%S").alias("sale_datetime"),
        _unless_missing("person", pl.format("shopper{}@example.com", "person")).alias("customer_email"),
        _unless_missing("card", _numbered("LC", "card", 8)).alias("loyalty_card"),
        _description().alias("description"),
    ).select(_money(name) if name in MONEY else pl.col(name).cast(pl.String) for name in COLUMNS)


def _numbered(prefix: str, name: str, digits: int) -> pl.Expr:
    return pl.lit(prefix) + pl.col(name).cast(pl.String).str.zfill(digits)


def _unless_missing(name: str, text: pl.Expr) -> pl.Expr:
    return pl.when(pl.col(name) >= 0).then(text)


def _description() -> pl.Expr:
    product = pl.col("product")
    cafe = pl.when(product % 97 == 0).then(pl.lit("Café crème ")).otherwise(pl.lit("Product "))
    size = pl.when(product % 11 == 0).then(pl.lit(', size "M"')).otherwise(pl.lit(""))
    edition = pl.when(product % 331 == 0).then(pl.lit("\nlimited edition")).otherwise(pl.lit(""))
    return pl.concat_str(cafe, product.cast(pl.String), size, edition)


def _money(name: str) -> pl.Expr:
    cents = pl.col(name)
    sign = pl.when(cents < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    whole, rest = cents.abs() // 100, (cents.abs() % 100).cast(pl.String).str.zfill(2)
    return pl.concat_str(sign, whole.cast(pl.String), pl.lit("."), rest).alias(name)


def write(receipts: int, seed: int, csv: Path | None, parquet: Path | None) -> None:
    """Write the rows as CSV, as Parquet (zstd, cells as text), or both."""
    with ExitStack() as stack:
        file = stack.enter_context(csv.open("wb")) if csv else None
        writer = None
        for number, rows in enumerate(blocks(receipts, seed)):
            if file:
                rows.write_csv(file, include_header=number == 0)
            if parquet:
                table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
                writer = writer or stack.enter_context(
                    pq.ParquetWriter(parquet, table.schema, compression="zstd")
                )
                writer.write_table(table)


def write_files(receipts: int, seed: int, directory: Path, count: int) -> None:
    """Write the rows as so many CSV files, each with a header and with whole receipts."""
    directory.mkdir()
    size = -(-receipts // count)
    number = pl.col("receipt_no").str.slice(1).cast(pl.Int64) // size
    for rows in blocks(receipts, seed):
        for (place,), some in rows.group_by(number.alias("number"), maintain_order=True):
            with (directory / f"pos_lines_{place:06}.csv").open("ab") as file:
                some.write_csv(file, include_header=file.tell() == 0)


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--receipts", type=int, default=1000)
    arguments.add_argument("--seed", type=int, default=7)
    arguments.add_argument("--csv", type=Path)
    arguments.add_argument("--parquet", type=Path)
    arguments.add_argument("--files", type=Path, help="a directory that is made, with CSV files")
    arguments.add_argument("--count", type=int, default=100, help="of files")
    given = arguments.parse_args()
    if given.files:
        write_files(given.receipts, given.seed, given.files, given.count)
    write(given.receipts, given.seed, given.csv, given.parquet)


if __name__ == "__main__":
    main()
