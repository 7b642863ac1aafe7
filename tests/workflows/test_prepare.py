"""The dry run from inside: where every row ends up, however the input is cut into units."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.core.errors import SourceError
from pipeline.core.events import ignore
from pipeline.core.memory import Budget
from pipeline.workflows import prepare as prepare_workflow
from pipeline.workflows.preparation import input_splits
from pipeline.workflows.preparation.import_plan import plan_import
from pipeline.workflows.prepare import PrepareOptions, prepare
from pipeline.workflows.preview import preview
from tests.command import REPOSITORY
from tests.fuzzing import examples
from tests.receipts import COLUMNS, Row, receipt, write_export
from tests.reference import expected

pytestmark = pytest.mark.slow


def test_sources_and_mapping_may_be_paths_and_one_source_alone_is_no_list(tmp_path: Path) -> None:
    mapping, file = REPOSITORY / "mappings" / "pos_lines.yaml", REPOSITORY / "sample_data" / "pos_lines.csv"
    assert prepare(tmp_path / "w", mapping, [file]).summary.transactions.accepted > 0
    names: list[Any] = [file, str(file)]
    for one in names:
        with pytest.raises(SourceError, match="expected a list of names"):
            prepare(tmp_path / "w", mapping, one)


# ── Running the stages ──────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Cut:
    """How the input is cut: rows a batch, bytes a partition."""

    rows: int = 1 << 20
    partition_bytes: int = 1 << 30


WHOLE = Cut()
load_mapping = cache(prepare_workflow.load_mapping)
COUNTED = ("rows", "transactions", "dropped", "rejected", "warnings", "totals")


@contextmanager
def cut_like(cut: Cut) -> Iterator[None]:
    """Have units cut so; a batch of the reader is made smaller, as a larger file would make it."""
    with pytest.MonkeyPatch.context() as patch:
        read = input_splits.raw_rows

        def in_pieces(*arguments: Any) -> Iterator[tuple[str, pl.DataFrame]]:
            for table, rows in read(*arguments):
                yield from ((table, piece) for piece in rows.iter_slices(cut.rows))

        patch.setattr(input_splits, "raw_rows", in_pieces)
        patch.setattr(prepare_workflow, "write_report", lambda *_, **__: None)
        patch.setattr(prepare_workflow, "load_mapping", load_mapping)
        yield


@dataclass(frozen=True)
class DryRun:
    """What a dry run gave: its counts, its bodies by id, its quarantine, and how many units it took."""

    counts: dict[str, Any]
    bodies: dict[str, dict[str, Any]]
    quarantine: list[dict[str, Any]]
    units: int

    @property
    def reasons(self) -> dict[str, set[str]]:
        """Codes by external id."""
        found: dict[str, set[str]] = {}
        for reason in self.quarantine:
            if reason["external_id"] is not None:
                found.setdefault(reason["external_id"], set()).add(reason["code"])
        return found

    @property
    def comparable(self) -> tuple[Any, ...]:
        """Everything that must not depend on how the input was cut."""
        # When the run started is part of this one's message.
        reported = [
            reason | {"message": ""} if reason["code"] == "transacted_at_future" else reason
            for reason in self.quarantine
        ]
        ordered = sorted(reported, key=lambda reason: json.dumps(reason, sort_keys=True, default=str))
        return self.counts, self.bodies, ordered


def prepared(files: list[Path], cut: Cut = WHOLE, mapping: str = "pos_lines") -> DryRun:
    """Prepare the files, in a directory of its own; the report is not written."""
    with tempfile.TemporaryDirectory() as workdir, cut_like(cut):
        options = PrepareOptions(budget=Budget(cut.partition_bytes))
        finished = prepare(Path(workdir), mapping, [str(file) for file in files], options, ignore)
        path = Path(finished.summary.run_dir)
        counts = {name: getattr(finished.summary, name) for name in COUNTED}
        return DryRun(
            counts, _bodies(path), _quarantine(path), len(list((path / "quarantine").glob("part-0*")))
        )


def _bodies(path: Path) -> dict[str, dict[str, Any]]:
    paths = list((path / "staged").glob("*.parquet"))
    rows = pl.concat(map(pl.read_parquet, paths)) if paths else pl.DataFrame({"external_id": [], "body": []})
    assert rows["external_id"].is_unique().all()
    return {
        id_: json.loads(body, parse_float=Decimal, parse_int=Decimal)
        for id_, body in rows.select("external_id", "body").iter_rows()
    }


def _quarantine(path: Path) -> list[dict[str, Any]]:
    paths = list((path / "quarantine").glob("*.parquet"))
    return [row for path in paths for row in _comparable(pl.read_parquet(path))]


def _comparable(reasons: pl.DataFrame) -> Iterator[dict[str, Any]]:
    for row in reasons.iter_rows(named=True):
        # When the run started, which such a message says, is not a matter of the input.
        yield row | {"message": ""} if row["code"] == "transacted_at_future" else row


# ── Any rows at all ─────────────────────────────────────────────────────────────────────────────────

WORDS = st.text(st.sampled_from("aé,;\"\n' €"), min_size=0, max_size=6).map(lambda text: f"x{text}x")
CUTS = st.builds(
    Cut,
    rows=st.sampled_from([1, 2, 3, 7, 100]),
    partition_bytes=st.sampled_from([1, 200, 600, 1 << 30]),
)
DEFECTS: list[dict[str, str]] = [
    *[{}] * 4,
    {"status": "DRAFT"},
    {"status": "LAYBY"},
    {"tender_amount": "0.01"},
    {"sale_total": ""},
    {"sale_total": "N/A"},
    {"sale_total": "99.00"},
    {"sale_datetime": "31/02/2021 10:00:00"},
    {"sale_datetime": "02/10/2022 02:30:00"},
    {"sale_datetime": "02/04/2023 02:30:00"},
    {"sale_datetime": "01/01/2099 10:00:00"},
    {"quantity": "two"},
    {"customer_email": "nobody"},
    {"customer_email": "", "loyalty_card": "LC1"},
    {"customer_email": ""},
]


@dataclass(frozen=True)
class Export:
    """Files of rows; a row of another length than the header is malformed."""

    files: list[list[Row]]
    newline: str

    def write(self, directory: Path) -> list[Path]:
        return [
            write_export(directory / f"pos_lines_{at}.csv", rows, newline=self.newline)
            for at, rows in enumerate(self.files)
        ]

    @property
    def rows(self) -> list[Row]:
        return [row for rows in self.files for row in rows]


@st.composite
def exports(draw: st.DrawFn, *, blank_keys: bool = False) -> Export:
    rows: list[Row] = []
    for number in draw(st.lists(st.integers(0, 5), min_size=1, max_size=7)):
        some = receipt(number, draw(st.integers(1, 3)), store=draw(st.sampled_from(["A", "B"])))
        defect = draw(st.sampled_from(DEFECTS))
        word = draw(WORDS)
        for row in some:
            for name, cell in defect.items():
                row[COLUMNS.index(name)] = cell
            row[COLUMNS.index("description")] += word
        rows += some
    rows = [draw(_spoiled(row, blank_keys)) for row in rows]
    rows += [rows[at % len(rows)] for at in draw(st.lists(st.integers(0, 99), max_size=3))]
    if draw(st.booleans()):
        rows = draw(st.permutations(rows))
    ends = sorted(draw(st.lists(st.integers(0, len(rows)), max_size=2)))
    files = [rows[a:b] for a, b in zip([0, *ends], [*ends, len(rows)], strict=True)]
    return Export(files, draw(st.sampled_from(["\n", "\r\n"])))


def _spoiled(row: Row, blank_keys: bool) -> st.SearchStrategy[Row]:
    choices = [row] * 12 + [[*row, "too", "many"], row[:5], [*row[:-1]]]
    if blank_keys:
        choices += [["", *row[1:]], [row[0], "  ", *row[2:]], [""] * len(row)]
    return st.sampled_from(choices)


@pytest.fixture(scope="module")
def mappings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A mapping for each choice of what counts of a sale in several files."""
    text = (REPOSITORY / "mappings" / "pos_lines.yaml").read_text("utf-8")
    text = text.partition("\ntests:")[0]
    found = {}
    for choice in ("reject", "latest", "add"):
        path = tmp_path_factory.mktemp(choice) / "pos_lines.yaml"
        path.write_text(text.replace("source:", f"source:\n  across_files: {choice}", 1), "utf-8")
        found[choice] = str(path)
    return found


@examples(12, fuzz=20)
@given(export=exports(blank_keys=True), choice=st.sampled_from(["reject", "latest", "add"]))
def test_preview_shows_what_prepare_stages(mappings: dict[str, str], export: Export, choice: str):
    with tempfile.TemporaryDirectory() as directory:
        files = export.write(Path(directory))
        staged = prepared(files, mapping=mappings[choice])
        plan = plan_import(load_mapping(mappings[choice]), [str(file) for file in files], ignore)
        found = preview(plan, 1000)
    assert {each.payload["external_id"]: each.payload for each in found.samples} == {
        id_: json.loads(json.dumps(body, default=float)) for id_, body in staged.bodies.items()
    }
    assert sorted(map(str, _comparable(found.reasons))) == sorted(map(str, staged.quarantine))


@pytest.mark.parametrize(
    "mapping", ["marketplace_tables", "lightspeed_x_sales", "shopify_orders", "nested_parquet"]
)
def test_preview_shows_what_prepare_stages_in_every_layout(mapping: str):
    samples = list((REPOSITORY / "sample_data").glob(f"{mapping}*"))
    found = preview(plan_import(load_mapping(mapping), [str(each) for each in samples], ignore), 1000)
    staged = prepared(samples, mapping=mapping)
    assert {each.payload["external_id"] for each in found.samples} == staged.bodies.keys()
    of_sales = [reason for reason in staged.quarantine if reason["code"] != "orphan_item"]
    assert sorted(map(str, _comparable(found.reasons))) == sorted(map(str, of_sales))


@examples(12, fuzz=20)
@given(exports(), CUTS)
def test_any_export_gives_what_the_slow_reference_gives_however_it_is_cut(export: Export, cut: Cut):
    with tempfile.TemporaryDirectory() as directory:
        first, *more = export.write(Path(directory))
        found = prepared([first, *more], cut)
        right = expected(first, datetime.now(UTC), *more)
    assert found.bodies == right.bodies
    assert found.reasons == right.reasons
    rows, transactions = found.counts["rows"], found.counts["transactions"]
    assert (rows.read, rows.malformed, rows.duplicate) == (right.rows, len(right.malformed), right.duplicates)
    assert Counter(
        {name: getattr(transactions, name) for name in ("accepted", "dropped", "rejected")}
    ) == Counter(right.transactions)
    assert found.counts["dropped"] == right.dropped
    malformed = {"malformed_row": len(right.malformed)} if right.malformed else {}
    assert found.counts["rejected"] == right.rejected | malformed
    assert found.counts["warnings"].get("guest", 0) == right.guests
    assert found.counts["warnings"].get("transacted_at_ambiguous", 0) == right.ambiguous
    assert Decimal(found.counts["totals"].get("accepted", 0)) == right.total


@examples(8, fuzz=20)
@given(exports(blank_keys=True), CUTS)
@example(
    Export([[[""] * len(COLUMNS), *receipt(1), [""] * len(COLUMNS)]], "\n"), Cut(rows=1, partition_bytes=1)
)
def test_every_row_is_in_exactly_one_place_however_the_input_is_cut(export: Export, cut: Cut):
    with tempfile.TemporaryDirectory() as directory:
        files = export.write(Path(directory))
        found, whole = prepared(files, cut), prepared(files)
    assert found.comparable == whole.comparable
    rows, transactions = found.counts["rows"], found.counts["transactions"]
    good = [row for row in export.rows if len(row) == len(COLUMNS) and any(row)]
    assert rows.read == len(export.rows)
    assert rows.skipped == sum(not any(row) for row in export.rows)
    assert rows.malformed == len(export.rows) - len(good) - rows.skipped
    assert transactions.read == transactions.accepted + transactions.dropped + transactions.rejected
    # A sale is the rows that share a key, each once; a row without a key is a transaction of its own.
    keyed = {tuple(row) for row in good if row[0].strip() and row[1].strip()}
    sales = {row[:3] for row in keyed}
    without = [row for row in good if not (row[0].strip() and row[1].strip())]
    assert transactions.read == len(sales) + len(without)
    # Of a sale that several files hold, the rows of some of them do not count.
    alone = len(files) == 1
    counted = rows.read - rows.malformed - rows.duplicate - rows.skipped
    assert counted == len(keyed) + len(without) if alone else counted <= len(keyed) + len(without)
    places = {
        (reason["source"], reason["line"])
        for reason in found.quarantine
        if reason["external_id"] is None and reason["code"] != "malformed_row"
    }
    assert len(places) == len(without)
    for id_, body in found.bodies.items():
        own = [row for row in keyed if f"{row[1]}-{row[2]}-{row[0]}" == id_]
        names = Counter(row[COLUMNS.index("description")] for row in own)
        items = Counter(item["name"] for item in body["items"])
        assert items == names if alone else items <= names
    assert len(found.bodies) == transactions.accepted
    assert sales == {
        (row[0], row[1], row[2])
        for row in keyed
        if f"{row[1]}-{row[2]}-{row[0]}" in found.bodies.keys() | found.reasons.keys()
    }


def test_a_rule_that_divides_by_nothing_does_not_hold(tmp_path: Path) -> None:
    mapping = tmp_path / "m.yaml"
    mapping.write_text(
        "mapping: m\nsource: {layout: headers, key: [id]}\ntransaction:\n  external_id: id\n  total: total\n"
        "  margin: margin\n  transacted_at:\n    column: at\n"
        "    then: [{datetime: {formats: [iso], timezone: {constant: UTC}}}]\n"
        "rules: [{code: thin, when: margin / total < 0.1, message: little earned}]\n"
    )
    source = tmp_path / "s.csv"
    source.write_text("id,total,margin,at\n1,0,2,2024-01-01\n2,20,1,2024-01-01\n3,20,9,2024-01-01\n")

    summary = prepare(tmp_path / "w", str(mapping), [str(source)], PrepareOptions(), ignore).summary
    assert (summary.rejected, summary.transactions.accepted) == ({"thin": 1}, 2)
