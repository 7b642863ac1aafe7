"""What `prune` and `forget` take away, and that everything else still works afterwards."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.core.errors import RunError, SettingsError
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.staging import erasure
from pipeline.staging.manifest import read_manifest
from pipeline.staging.staged_run import StagedRun
from pipeline.staging.workdir import RunDir, Workdir
from pipeline.testing import LocalOmneo
from pipeline.workflows.forgetting.person_name import PersonName
from tests.command import Ended, call, files_with, open_to_others
from tests.receipts import COLUMNS, Row, receipt, write_export

pytestmark = pytest.mark.slow

ANN, BEA, CID = "ann@example.com", "bea@example.com", "cid@example.com"


@dataclass
class OldShop:
    home: Path
    omneo: LocalOmneo

    def export(self, *rows: Row) -> Path:
        return write_export(self.home / "pos_lines.csv", rows)

    def command(self, *arguments: object, answer: str | None = None) -> Ended:
        workdir = ("--workdir", self.workdir, "--json")
        return call(*arguments, *workdir, env=self.omneo.environment(), answer=answer)

    def run(self, file: Path, *arguments: object) -> dict[str, Any]:
        ended = self.command("run", "-m", "pos_lines", file, *arguments)
        assert ended.code in (0, 4), ended.stderr
        return ended.summary

    @property
    def workdir(self) -> Path:
        return self.home / "w"

    def directory(self, run_id: str) -> RunDir:
        return Workdir(self.workdir).find(run_id)

    def age(self, run_id: str) -> str:
        """Give a run the name that it would have had years ago."""
        old = f"2020{run_id[4:]}"
        path = self.workdir / "runs" / run_id
        for name in ("manifest.json", "report.json"):
            text = (path / name).read_text(encoding="utf-8").replace(run_id, old)
            (path / name).write_text(text, encoding="utf-8")
        path.rename(path.with_name(old))
        if (self.workdir / "ledger.sqlite").exists():
            with SqlLedger(self.workdir / "ledger.sqlite") as ledger, ledger.connection.begin():
                ledger.connection.exec_driver_sql(
                    "UPDATE runs SET run_id = ? WHERE run_id = ?", (old, run_id)
                )
        return old


@pytest.fixture
def shop(tmp_path: Path, omneo: LocalOmneo) -> OldShop:
    return OldShop(tmp_path, omneo)


SALES = [*receipt(1, customer_email=ANN), *receipt(2, customer_email=BEA)]
REJECTED = [*receipt(3, customer_email=ANN, sale_total="x"), *receipt(4, customer_email=CID, sale_total="x")]


def holding(text: str, directory: Path) -> list[str]:
    """Files in which a text stands, columns of Parquet files included."""
    found = {path.name for path in files_with(text, directory)}
    for path in directory.rglob("*.parquet"):
        cells = pl.read_parquet(path).select(pl.col(pl.String)).rows()
        if any(text in (cell or "") for row in cells for cell in row):
            found.add(path.name)
    return sorted(found)


# ── By age ──────────────────────────────────────────────────────────────────────────────────────────


def test_old_runs_lose_what_is_personal_and_keep_the_rest(shop: OldShop) -> None:
    run_id = shop.age(shop.run(shop.export(*SALES, *REJECTED), "--show-personal-data")["run_id"])
    assert holding(ANN, shop.workdir)
    before = shop.command("status", run_id).summary
    pruned = shop.command("prune", "--older-than", "30d", "--yes")
    assert [each["run_id"] for each in pruned.summary["runs"]] == [run_id]
    assert pruned.summary["runs"][0]["files"] >= 4
    assert [holding(person, shop.workdir) for person in (ANN, BEA, CID)] == [[], [], []]
    left = {path.name for path in shop.directory(run_id).path.iterdir()}
    assert left == {
        "manifest.json",
        "facts.json",
        "review.json",
        "report.html",
        "report.json",
        "run.log.jsonl",
    }
    assert open_to_others(shop.workdir) == []
    assert shop.command("status", run_id).summary == before
    assert shop.command("report", run_id).code == 0
    assert shop.command("prune", "--older-than", "30d", "--yes").summary["runs"] == []


def test_nothing_is_sent_again_after_pruning(shop: OldShop) -> None:
    file = shop.export(*SALES)
    run_id = shop.age(shop.run(file)["run_id"])
    shop.command("prune", "--older-than", "30d", "--yes")
    for command in ("load", "retry", "confirm", "preflight"):
        ended = shop.command(command, run_id)
        assert (ended.code, "removed, by `prune`" in ended.stderr) == (2, True), ended.stderr
    assert shop.run(file)["delivery"]["unchanged"] == 2


def test_young_runs_are_left_alone(shop: OldShop) -> None:
    run_id = shop.run(shop.export(*SALES))["run_id"]
    assert shop.command("prune", "--older-than", "1d", "--yes").summary["runs"] == []
    assert shop.directory(run_id).staged.exists()
    assert shop.command("prune", "--older-than", "0s", "--yes").summary["runs"][0]["run_id"] == run_id


def test_a_dry_run_only_tells(shop: OldShop) -> None:
    run_id = shop.run(shop.export(*SALES))["run_id"]
    result = shop.command("prune", "--older-than", "0s", "--dry-run")
    assert "would be removed" in result.stderr
    assert shop.directory(run_id).staged.exists()
    done = shop.command("prune", "--older-than", "0s", "--yes").summary["runs"]
    assert done == result.summary["runs"]


def test_what_was_never_delivered_is_kept_unless_forced(shop: OldShop) -> None:
    prepared = shop.command("prepare", "-m", "pos_lines", shop.export(*SALES)).summary["run_id"]
    kept = shop.command("prune", "--older-than", "0s", "--yes")
    assert (
        kept.summary["runs"][0]["left_alone"]
        == "2 transactions of it are not delivered and can still be sent"
    )
    assert shop.directory(prepared).staged.exists()
    shop.command("prune", "--older-than", "0s", "--force", "--yes")
    assert not shop.directory(prepared).staged.exists()


@pytest.mark.parametrize(("answer", "code", "goes"), [("y\n", 0, True), ("n\n", 0, False), ("", 2, False)])
def test_prune_asks_before_it_removes(shop: OldShop, answer: str, code: int, goes: bool) -> None:
    run_id = shop.run(shop.export(*receipt(1)))["run_id"]
    bodies = shop.home / "w" / "runs" / run_id / "staged"
    asked = call("prune", "--older-than", "0s", "--workdir", shop.home / "w", answer=answer)
    assert (asked.code, bodies.exists()) == (code, not goes)
    assert "Remove the contents of 1 run, " in asked.stderr
    if code:
        assert "Pass --yes to confirm" in asked.stderr
    again = call("prune", "--older-than", "9d", "--workdir", shop.home / "w", answer="")
    assert (again.code, "Remove" in again.stderr) == (0, False), "there is nothing to ask for"


@pytest.mark.parametrize("age", ["90", "0", "d", "-1d", "3 weeks"])
def test_prune_wants_a_unit(shop: OldShop, age: str) -> None:
    result = shop.command("prune", "--older-than", age, "--yes")
    assert (result.code, "expected something like 90d" in result.stderr) == (2, True)


def test_a_run_whose_sales_a_later_one_delivered_is_pruned(shop: OldShop) -> None:
    file = shop.export(*SALES)
    shop.omneo.set_faults(outage=True)
    stopped = shop.command("run", "-m", "pos_lines", file, "--give-up-after", "0s")
    assert stopped.code == 5
    shop.omneo.set_faults(outage=False)
    shop.command("prepare", "-m", "pos_lines", file)
    assert all(
        each["left_alone"] for each in shop.command("prune", "--older-than", "0s", "--yes").summary["runs"]
    )
    shop.run(file)
    done = shop.command("prune", "--older-than", "0s", "--yes").summary["runs"]
    assert [each["left_alone"] for each in done] == ["", "", ""]


def test_a_run_that_the_gate_closed_is_pruned(shop: OldShop) -> None:
    file = shop.export(*SALES, *REJECTED)
    assert shop.command("prepare", "-m", "pos_lines", file, "--max-rejected", "1").code == 3
    assert shop.command("prune", "--older-than", "0s", "--yes").summary["runs"][0]["left_alone"] == ""
    assert holding(ANN, shop.workdir) == []


def test_what_a_crash_left_is_removed(shop: OldShop) -> None:
    leftover = shop.workdir / "runs" / "20200101T000000-abcd" / "buckets"
    leftover.mkdir(parents=True)
    (leftover / "00000-lines-0000.arrow").write_text(ANN, encoding="utf-8")
    assert shop.command("prune", "--older-than", "1d", "--yes").summary["runs"][0]["files"] == 1
    assert not leftover.parent.exists()


# ── By person ───────────────────────────────────────────────────────────────────────────────────────


def test_a_person_is_gone_and_all_others_are_as_they_were(shop: OldShop) -> None:
    malformed = [receipt(5, 1, customer_email=ANN)[0][:9]]
    file = shop.export(*SALES, *REJECTED, *malformed)
    run_id = shop.run(file, "--show-personal-data")["run_id"]
    run, before = shop.directory(run_id), shop.command("status", run_id).summary
    (ann, bea) = [each.body for batch in StagedRun(run.here, read_manifest(run)).batches() for each in batch]
    assert ANN.encode() in ann
    assert {"facts.json", "report.html", "report.json"} < set(holding(ANN, run.path))
    ended = shop.command("forget", "--profile", ANN.upper(), "--yes")
    (page,) = ended.summary["runs"]
    assert (page["run_id"], page["staged"], page["rows"]) == (run_id, ["S1-1-R1"], 3)
    assert holding(ANN, shop.workdir) == []
    assert open_to_others(shop.workdir) == []
    after = [each.body for batch in StagedRun(run.here, read_manifest(run)).batches() for each in batch]
    assert after == [b"", bea]
    assert holding(CID, run.path) == ["part-00000.parquet", "quarantine.csv", "quarantine_rows.csv"]
    assert shop.command("status", run_id).summary == before  # both were sent
    assert json.loads(run.manifest.read_text(encoding="utf-8"))["forgotten"] == 1


def test_rows_of_a_sale_go_whole_where_only_its_first_row_names_the_person(shop: OldShop) -> None:
    sample = Path(__file__).parents[2] / "sample_data" / "shopify_orders.csv"
    rows = list(csv.DictReader(StringIO(sample.read_text(encoding="utf-8"))))
    for row in rows:
        row["Total"] = row["Total"] and "x"
    file = shop.home / "shopify_orders.csv"
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    prepared = shop.command("prepare", "-m", "shopify_orders", file).summary
    to_fix = Path(prepared["run_dir"]) / "quarantine_rows.csv"

    def orders() -> list[str]:
        return [row["Name"] for row in csv.DictReader(StringIO(to_fix.read_text(encoding="utf-8-sig")))]

    theirs = {row["Name"] for row in rows if row["Email"] == "kim@example.com"}
    before = orders()
    assert len([name for name in before if name == "#2001"]) == 2, "one of its rows has a cell of two lines"
    shop.command("forget", "--profile", "kim@example.com", "--yes")
    assert orders() == [name for name in before if name not in theirs]
    assert shop.command("prepare", "-m", "shopify_orders", to_fix).summary["transactions"]["read"] > 0


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize("is_ended", [True, False])
def test_rows_of_others_keep_every_byte_whatever_their_line_breaks(
    shop: OldShop, end: str, is_ended: bool
) -> None:
    notes = ["two\rlines,", "plain", "two\nlines", "two\r\nlines,"]
    sales = [
        *(receipt(f"A{n}", 1, customer_email=ANN, description=note) for n, note in enumerate(notes)),
        *(receipt(f"C{n}", 1, customer_email=CID, description=note) for n, note in enumerate(notes)),
    ]
    rows = [row for pair in zip(sales[:4], sales[4:], strict=True) for sale in pair for row in sale]
    for row in rows:
        row[COLUMNS.index("sale_total")] = "x"
    run_id = shop.command("prepare", "-m", "pos_lines", shop.export(*rows)).summary["run_id"]
    to_fix = shop.directory(run_id).path / "quarantine_rows.csv"
    text = to_fix.read_bytes().decode().removesuffix("\n")
    records = text.replace('\n"R', '\0"R').split("\0")
    assert len(records) == 1 + len(rows)
    # As an editor saves it.
    ends = end if is_ended else ""
    to_fix.write_bytes((end.join(records) + ends).encode())
    (page,) = shop.command("forget", "--profile", ANN, "--yes").summary["runs"]
    assert page["rows"] == len(notes)
    kept = end.join(record for record in records if ANN not in record) + ends
    assert to_fix.read_bytes().decode() == kept


def test_nothing_is_sent_again_after_forgetting(shop: OldShop) -> None:
    file = shop.export(*SALES)
    run_id = shop.run(file)["run_id"]
    shop.command("forget", "--profile", ANN, "--yes")
    sent = len(shop.omneo.arrivals())
    for command in ("load", "retry"):
        ended = shop.command(command, run_id)
        assert (ended.code, ended.summary["delivery"]["delivered"]) == (0, 2)
    assert shop.run(file)["delivery"]["unchanged"] == 2
    assert len(shop.omneo.arrivals()) == sent
    confirmed = shop.command("confirm", run_id)
    assert (confirmed.code, confirmed.summary["confirmed"]) == (0, 1)
    assert shop.command("preflight", run_id).code == 0
    assert shop.command("void", run_id, "--yes").code == 0
    assert all(each["is_void"] for each in shop.omneo.transactions())


def test_what_was_not_sent_yet_is_counted_as_forgotten(shop: OldShop) -> None:
    file = shop.export(*SALES)
    prepared = shop.command("prepare", "-m", "pos_lines", file).summary["run_id"]
    shop.command("forget", "--profile", ANN, "--yes")
    before = shop.command("status", prepared).summary["delivery"]
    assert (before["pending"], before["forgotten"]) == (1, 1)
    loaded = shop.command("load", prepared)
    assert loaded.code == 0
    delivery = loaded.summary["delivery"]
    assert (delivery["delivered"], delivery["forgotten"], delivery["unchanged"]) == (1, 1, 0)
    assert [arrival.external_id for arrival in shop.omneo.arrivals()] == ["S1-1-R2"]
    for command in ("load", "retry", "report", "status", "confirm", "void"):
        ended = shop.command(command, prepared, *(["--yes"] if command == "void" else []))
        assert (ended.code, ended.summary["delivery"]["forgotten"]) == (0, 1), ended.stderr


def test_what_was_refused_is_forgotten_at_once(shop: OldShop) -> None:
    shop.omneo.set_faults(refused_share=1.0)
    run_id = shop.run(shop.export(*SALES))["run_id"]
    shop.omneo.set_faults(refused_share=0.0)
    shop.command("forget", "--profile", ANN, "--yes")
    delivery = shop.command("status", run_id).summary["delivery"]
    assert (delivery["refused"], delivery["forgotten"]) == (1, 1)
    assert shop.command("retry", run_id).summary["delivery"]["delivered"] == 1


def test_everybody_can_be_forgotten(shop: OldShop) -> None:
    run_id = shop.run(shop.export(*SALES, *REJECTED))["run_id"]
    for person in (ANN, BEA, CID):
        shop.command("forget", "--profile", person, "--yes")
    for command in ("report", "load", "retry", "confirm", "preflight", "status", "void"):
        ended = shop.command(command, run_id, *(["--yes"] if command == "void" else []))
        assert ended.code == 0, ended.stderr
    assert all(each["is_void"] for each in shop.omneo.transactions())


CARD = "20240711"


def test_the_number_of_a_sale_or_a_product_is_nobodys_card(shop: OldShop) -> None:
    like_a_card = {"store": CARD, "sku": CARD, "staff_code": CARD}
    others = [
        *receipt(9, customer_email=BEA, receipt_no=CARD, **like_a_card),
        *receipt("77", customer_email=BEA, sale_total="x", **like_a_card),
    ]
    theirs = [
        *receipt(1, customer_email="", loyalty_card=CARD),
        *receipt(2, customer_email="", loyalty_card=CARD, sale_total="x"),
        *receipt(3, customer_email=BEA, description=f"Gift for {CARD}"),
    ]
    run_id = shop.run(shop.export(*others, *theirs))["run_id"]
    (page,) = shop.command("forget", "--profile", CARD, "--yes").summary["runs"]
    assert page["staged"] == ["S1-1-R1", "S1-1-R3"]
    run = shop.directory(run_id)
    with (run.path / "quarantine.csv").open(encoding="utf-8", newline="") as file:
        assert {row["external_id"] for row in csv.DictReader(file)} == {f"{CARD}-1-R77"}
    assert "R77" in (run.path / "quarantine_rows.csv").read_text(encoding="utf-8")


META = "meta: {object: {gift_for: loyalty_card}}"


def test_a_person_in_a_value_of_many_values_is_found_in_rejected_rows(shop: OldShop) -> None:
    shipped = (Path(__file__).parents[2] / "mappings" / "pos_lines.yaml").read_text(encoding="utf-8")
    text = shipped.replace("  - {value: loyalty_card, handle: loyalty-card}\n", "")
    mapping = shop.home / "pos_lines.yaml"
    mapping.write_text(text.replace("\ntransaction:\n", f"\ntransaction:\n  {META}\n"), encoding="utf-8")
    sales = [
        *receipt(1, customer_email=BEA, loyalty_card=ANN, sale_total="x"),
        *receipt(2, customer_email=BEA, sale_total="x"),
    ]
    run_id = shop.command("prepare", "-m", mapping, shop.export(*sales)).summary["run_id"]
    assert holding(ANN, shop.workdir)
    shop.command("forget", "--profile", ANN, "--yes")
    assert holding(ANN, shop.workdir) == []
    assert "R2" in (shop.directory(run_id).path / "quarantine_rows.csv").read_text(encoding="utf-8")


def test_the_servers_words_are_forgotten(shop: OldShop) -> None:
    shop.run(shop.export(*SALES))
    ledger = shop.workdir / "ledger.sqlite"
    with SqlLedger(ledger) as opened:
        rows = opened.find(["S1-1-R1", "S1-1-R2"])
        opened.record(
            [row._replace(message=f'{{"message": "{ANN} and {name}"}}') for name, row in rows.items()]
        )
    assert files_with(ANN, shop.workdir)
    assert shop.command("forget", "--profile", ANN, "--yes").summary["words"] == 2
    assert files_with(ANN, shop.workdir / "runs") == []
    assert ANN.encode() not in ledger.read_bytes()


@pytest.mark.parametrize(("answer", "gone"), [("y\n", True), ("n\n", False), ("", False)])
def test_it_asks_first(shop: OldShop, answer: str, gone: bool) -> None:
    shop.run(shop.export(*SALES))
    ended = shop.command("forget", "--profile", ANN, answer=answer)
    assert "Remove this person from 1 run, with 1 staged transaction?" in ended.stderr
    assert (holding(ANN, shop.workdir) == []) is gone


def test_somebody_unknown_changes_nothing(shop: OldShop) -> None:
    run_id = shop.run(shop.export(*SALES))["run_id"]
    before = shop.directory(run_id).manifest.read_bytes()
    ended = shop.command("forget", "--profile", "nn@example.com")
    assert (ended.code, ended.summary) == (0, {"runs": [], "words": 0})
    assert shop.directory(run_id).manifest.read_bytes() == before


def test_a_crash_between_manifest_and_parts_is_mended(shop: OldShop, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = shop.run(shop.export(*SALES))["run_id"]
    run = shop.directory(run_id)
    with monkeypatch.context() as patch:
        patch.setattr(erasure, "settle", lambda *_: None)
        erasure.blank_bodies(run, read_manifest(run), pl.col("body").str.contains(ANN))
    with pytest.raises(RunError, match="was changed"):
        StagedRun(run.here, read_manifest(run)).verify()
    shop.command("forget", "--profile", "somebody@else.example")
    StagedRun(run.here, read_manifest(run)).verify()
    assert holding(ANN, run.staged) == []
    assert [path.suffix for path in run.staged.iterdir()] == [".parquet"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (ANN, True),
        (f'{{"profile_id":"{ANN}"}}', True),
        ("Mail ANN@example.com.", True),
        ("joann@example.com", False),
        ("ann@example.com.au", False),
        ("dann-ann@example.com", False),
        ("ann@example.community", False),
        (None, False),
    ],
)
def test_a_name_is_found_only_where_it_stands_alone(text: str | None, named: bool) -> None:
    person = PersonName(ANN)
    assert person.is_in(text) is named
    assert pl.DataFrame({"a": [text]}, schema={"a": pl.String}).select(person.within("a")).item() is named


@pytest.mark.parametrize("name", ["", "42", "12345"])
def test_short_numbers_are_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="too short"):
        PersonName(name)
