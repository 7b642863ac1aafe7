"""The `source` and `lookups` of a mapping: how files are laid out, as frozen objects."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema

from pipeline.core.model import Dialect, Worksheet
from pipeline.core.storage.file_formats import FileFormat
from pipeline.mapping.language.forms import Frozen, Sql, Text
from pipeline.mapping.language.value_spec import (
    Number,
)

Layout: TypeAlias = Literal["lines", "first_row", "records", "tables", "nested", "headers"]
"""How rows are laid out; what each means is said below, at `Source`."""


class Table(Frozen):
    """One of several files that are joined: headers, items or payments.

    Attributes:
        inputs: Globs of file names.
        key: The columns with the transaction's key, in the same order as the key of `headers`.
        optional: The file may be missing.
    """

    inputs: tuple[str, ...] = Field(min_length=1)
    key: tuple[str, ...] = Field(min_length=1)
    optional: bool = False


class Records(Frozen):
    """Several record types in one file.

    Attributes:
        column: The column with the record type.
        header, item, payment: The words for each type; other records are skipped.
    """

    column: str
    header: tuple[Text, ...] = Field(min_length=1)
    item: tuple[Text, ...] = ()
    payment: tuple[Text, ...] = ()


class Nested(Frozen):
    """Columns that hold lists of objects: a nested Parquet column, or JSON in a cell.

    The members of the objects become columns named `items.<member>` / `payments.<member>`.

    Attributes:
        items: The column with the items; `order.lines` means the list `lines` in the object `order`.
        payments: The column with the payments, likewise.
    """

    items: str | None = None
    payments: str | None = None


def _listed(raw: object) -> object:
    return (raw,) if isinstance(raw, str) else raw


Conditions: TypeAlias = Annotated[
    tuple[Sql, ...],
    BeforeValidator(_listed),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}}),
]
"""A condition in SQL, or a list of them."""


class RowRules(Frozen):
    """What happens to rows before they are grouped into transactions.

    Attributes:
        skip: A condition in SQL over the row's own cells, or a list of them. Rows that meet one are left out
            (subtotals, opening balances, rows of another kind), and counted as skipped.
        number_equal: The name of a column that is added: it numbers rows that are equal in every cell, 1, 2,
            3… in the order of their file. With it in `key` and ids, they are different sales.
    """

    skip: Conditions = ()
    number_equal: str | None = None


class Source(Frozen):
    """The files.

    Attributes:
        inputs: Globs of file names to look for when a directory is given; endings match in any letter case.
        format: Recognised by the content of the file where it is left out.
        layout: `lines`: one row per line item, with the header cells on each. `first_row`: header cells only
            on the transaction's first row. `records`: several record types in one file. `tables`: several
            files joined on keys. `nested`: one row per transaction with lists inside. `headers`: one row per
            transaction, no items.
        key: The columns, or names from `define`, that identify a transaction.
        carry_key: A blank key means the key of the row above.
        csv: The CSV dialect.
        excel: What is read of an Excel workbook.
        nulls: Words that mean an empty cell, besides the empty cell itself.
        rows: Rows that are left out.
        duplicates: Rows that are equal in every cell: `drop` repeats with a warning, or `keep` them as real.
        across_files: Which rows count for a sale that differs between the files of a run, where neither a
            shared line nor the total decides: those of the `latest` file, all of them (`add`), or none
            (`reject`).
        ignore: Columns that are unused on purpose, also as shell patterns (`Billing *`); other unused columns
            give the warning `unmapped_column`.
        optional: Columns that some exports of this kind lack; there they are blank.
        number: How numbers are written where a value does not say otherwise.
        records: The record types, for `layout: records`.
        nested: The columns with lists, for `layout: nested`.
        tables: The files `headers`, `items` and `payments`, for `layout: tables`.
    """

    inputs: tuple[str, ...] = ("*.csv", "*.csv.gz", "*.csv.zst", "*.parquet", "*.xlsx")
    format: FileFormat | None = None
    layout: Layout = "lines"
    key: tuple[str, ...] = ()
    carry_key: bool = False
    csv: Dialect = Dialect()
    excel: Worksheet = Worksheet()
    nulls: tuple[Text, ...] = ()
    rows: RowRules = RowRules.model_construct()
    duplicates: Literal["drop", "keep"] = "drop"
    across_files: Literal["latest", "add", "reject"] = "reject"
    ignore: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    number: Number = Number.model_construct()
    records: Records | None = None
    nested: Nested | None = None
    tables: dict[Literal["headers", "items", "payments"], Table] = Field({})

    @property
    def headers_on_lines(self) -> bool:
        """Whether a transaction's own cells are on its lines: it has no row of its own."""
        if self.layout == "tables":
            return "headers" not in self.tables
        return self.layout in ("lines", "first_row")

    @property
    def has_payment_rows(self) -> bool:
        """Whether payments have rows of their own."""
        match self.layout:
            case "tables":
                return "payments" in self.tables
            case "records":
                return self.records is not None and bool(self.records.payment)
            case "nested":
                return self.nested is not None and bool(self.nested.payments)
            case _:
                return False

    @property
    def why_no_items(self) -> str:
        """Why this layout gives no rows for items, for a message; empty where it gives them."""
        if self.layout == "headers":
            return "`layout: headers` means one row per transaction without items"
        if self.layout == "tables" and self.tables and "items" not in self.tables:
            return "`tables` has no `items`"
        if self.layout == "records" and self.records and not self.records.item:
            return "`records` names no word for `item`"
        if self.layout == "nested" and self.nested and not self.nested.items:
            return "`nested` names no column for `items`"
        return ""

    @property
    def all_keys(self) -> tuple[str, ...]:
        """The key columns of the source, or of all its tables one after the other."""
        return (*self.key, *(name for table in self.tables.values() for name in table.key))

    def key_of(self, table: str) -> tuple[str, ...]:
        """The key columns of a table: `lines`, or a name under `tables`."""
        named = {str(name): entry.key for name, entry in self.tables.items()}
        return named.get(table, self.key)

    def file_key_of(self, table: str) -> tuple[str, ...]:
        """The part of a table's key that is known when a row is read."""
        return tuple(name for name in self.key_of(table) if name not in self.added_columns)

    @property
    def added_columns(self) -> frozenset[str]:
        """Columns that no file has, since they are added to its rows."""
        return frozenset([self.rows.number_equal] if self.rows.number_equal else ())


class LookupTable(Frozen):
    """Another table; a file beside the mapping must lie under the mapping's own directory.

    Attributes:
        file: CSV or Parquet, relative to the mapping; with `from: source`, a glob of source file names.
        key: The columns of the key; a key on several rows that differ is an error.
        from_: `mapping`: a file beside the mapping. `source`: one of the sources on the command line.
    """

    file: str
    key: tuple[str, ...] = Field(min_length=1)
    from_: Literal["mapping", "source"] = Field("mapping", alias="from")
    csv: Dialect = Dialect()
