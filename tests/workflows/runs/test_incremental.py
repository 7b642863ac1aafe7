"""Every night on the same folder: what is read again, what is sent again, and what is left alone."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from pipeline.staging.workdir import Workdir
from pipeline.testing import LocalOmneo
from pipeline.workflows.runs import incremental
from pipeline.workflows.runs.workdir_lock import workdir_lock
from tests.command import Ended, call
from tests.receipts import Row, receipt, write_export

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_page")]

YESTERDAY = time.time() - 86_400


@dataclass
class Shop:
    """A folder of exports, a working directory, and a tenant."""

    home: Path
    omneo: LocalOmneo
    mapping: str = "pos_lines"

    @property
    def folder(self) -> Path:
        return self.home / "exports"

    def export(self, name: str, *rows: Row, age_s: float = 86_400) -> Path:
        self.folder.mkdir(exist_ok=True)
        path = write_export(self.folder / f"pos_lines_{name}.csv", rows)
        os.utime(path, (time.time() - age_s,) * 2)
        return path

    def command(self, *arguments: object) -> Ended:
        workdir = ("--workdir", self.home / "w")
        return call(*arguments, *workdir, "--json", env=self.omneo.environment())

    def run(self, *arguments: object) -> Ended:
        arguments = arguments or (self.folder,)
        return self.command("run", "-m", self.mapping, *arguments)

    def arrived(self) -> list[str]:
        return sorted(arrival.external_id or "" for arrival in self.omneo.arrivals())


@pytest.fixture
def shop(tmp_path: Path, omneo: LocalOmneo) -> Shop:
    return Shop(tmp_path, omneo)


def numbers(ended: Ended) -> tuple[int, int, int]:
    """Transactions read, delivered and unchanged."""
    summary = ended.summary
    assert ended.code == 0, ended.stderr
    return summary["transactions"]["read"], summary["delivery"]["delivered"], summary["delivery"]["unchanged"]


# ── Files ───────────────────────────────────────────────────────────────────────────────────────────


def test_only_new_and_changed_files_of_a_folder_are_read(shop: Shop) -> None:
    shop.export("1", *receipt(1), *receipt(2))
    assert numbers(shop.run()) == (2, 2, 0)
    shop.export("2", *receipt(2), *receipt(3))
    second = shop.run()
    assert numbers(second) == (2, 1, 1)
    assert "1 file was imported before" in second.stderr
    shop.export("1", *receipt(1), *receipt(2, price="9.00"))
    assert numbers(shop.run()) == (2, 1, 1)
    assert shop.arrived() == ["S1-1-R1", "S1-1-R2", "S1-1-R2", "S1-1-R3"]


@pytest.mark.parametrize("command", ["load", "retry", "confirm", "preflight"])
def test_files_of_a_run_that_ended_at_the_gate_are_not_done(shop: Shop, command: str) -> None:
    shop.export("1", *(row for n in range(60) for row in receipt(n, sale_total="x")))
    assert shop.run().code == 3
    assert shop.command(command, "latest").code in ({3} if command in ("load", "retry") else {0, 4})
    again = shop.run()
    assert (again.code, again.summary["transactions"]["rejected"]) == (3, 60)
    assert "Nothing of run" in again.stderr
    assert shop.arrived() == []


def test_a_night_at_the_gate_is_read_again_until_it_is_fixed_or_let_through(shop: Shop) -> None:
    bad = [row for n in range(100, 130) for row in receipt(n, sale_total="x")]
    shop.export("1", *receipt(1), *bad)
    shop.export("2", *receipt(2))
    assert (shop.run().code, shop.run().code) == (3, 3)
    opened = shop.run("--max-rejected", "100%", shop.folder)
    assert (opened.summary["transactions"]["read"], opened.summary["delivery"]["delivered"]) == (32, 2)
    assert "Nothing new" in shop.run().stderr
    shop.export("1", *receipt(1), *(row for n in range(100, 130) for row in receipt(n)))
    assert numbers(shop.run()) == (31, 30, 1)


def times(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_atime_ns, found.st_mtime_ns


def totals(shop: Shop) -> dict[str, float]:
    return {each["external_id"]: each["total"] for each in shop.omneo.transactions()}


def renamed(shop: Shop, old: Path) -> None:
    old.rename(shop.folder / "pos_lines_c.csv")


def copied(shop: Shop, old: Path) -> None:
    shutil.copyfile(old, shop.folder / "pos_lines_c.csv")


def copied_with_its_time(shop: Shop, old: Path) -> None:
    shutil.copy2(old, shop.folder / "pos_lines_c.csv")


def moved_over_the_correction(shop: Shop, old: Path) -> None:
    old.replace(shop.folder / "pos_lines_b.csv")


def written_over_the_correction(shop: Shop, old: Path) -> None:
    shutil.copyfile(old, shop.folder / "pos_lines_b.csv")


def touched(shop: Shop, old: Path) -> None:
    os.utime(old)


CHANGES = [
    *(renamed, copied, copied_with_its_time, moved_over_the_correction, written_over_the_correction, touched)
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("source", ["folder", "glob", "all", "named"])
def test_an_old_file_that_was_renamed_copied_or_touched_takes_no_correction_back(
    shop: Shop, change: Callable[[Shop, Path], None], source: str
) -> None:
    old = shop.export("a", *receipt(1, price="5.00"), *receipt(2), age_s=3 * 86_400)
    assert numbers(shop.run()) == (2, 2, 0)
    shop.export("b", *receipt(1, price="7.50"), *receipt(2), age_s=2 * 86_400)
    assert numbers(shop.run()) == (2, 1, 1)
    right, sent = totals(shop), len(shop.arrived())
    assert right["S1-1-R1"] == 15.0
    change(shop, old)
    match source:
        case "folder":
            assert "Nothing new" in shop.run().stderr
        case "glob":
            assert "Nothing new" in shop.run(shop.folder / "*.csv").stderr
        case "all":
            assert shop.run("--all-files", shop.folder).code == 0
        case "named":
            for file in sorted(shop.folder.iterdir()):
                assert shop.run(file).code == 0
    assert totals(shop) == right
    assert len(shop.arrived()) == sent


def test_a_file_with_the_size_and_time_of_another_is_known_by_its_contents(shop: Shop) -> None:
    path = shop.export("1", *receipt(1, price="5.00"))
    assert numbers(shop.run()) == (1, 1, 0)
    size, kept = path.stat().st_size, times(path)
    shop.export("1", *receipt(1, price="7.00"))
    os.utime(path, ns=kept)
    assert (path.stat().st_size, times(path)) == (size, kept)
    assert numbers(shop.run()) == (1, 1, 0)
    assert totals(shop) == {"S1-1-R1": 14.0}


def test_what_did_not_change_is_not_read_to_be_known(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shop.export("1", *receipt(1))
    while time.time() < path.stat().st_ctime + 1.1:  # runs are distinguished from changes by the second
        time.sleep(0.05)
    assert numbers(shop.run()) == (1, 1, 0)

    def refuse(_: object) -> str:
        raise AssertionError("it was read")

    monkeypatch.setattr(incremental, "fingerprint", refuse)
    assert "Nothing new" in shop.run().stderr
    # A file of another size than all that are known cannot be one of them, whatever it is called.
    shop.export("2", *receipt(20, 3))
    assert numbers(shop.run()) == (1, 1, 0)


def test_an_older_export_never_replaces_what_a_newer_one_brought(shop: Shop) -> None:
    shop.export("new", *receipt(1, price="7.50"), age_s=86_400)
    assert numbers(shop.run()) == (1, 1, 0)
    shop.export("late", *receipt(1, price="5.00"), *receipt(2), age_s=2 * 86_400)
    late = shop.run()
    assert (late.code, late.summary["delivery"]["delivered"]) == (0, 1)
    assert totals(shop) == {"S1-1-R1": 15.0, "S1-1-R2": 5.0}


def test_nights_of_corrections_renames_and_copies_end_with_what_was_written_last(shop: Shop) -> None:
    chance, right, written = random.Random(5), dict[str, float](), list[Path]()
    for night in range(8):
        if written:
            old = chance.choice(written)
            target = shop.folder / f"pos_lines_again_{night}.csv"
            match chance.choice(["rename", "copy", "touch", "nothing"]):
                case "rename":
                    old.rename(target)
                    written[written.index(old)] = target
                case "copy":
                    written.append(Path(shutil.copyfile(old, target)))
                case "touch":
                    os.utime(old)
        rows = []
        for number in chance.sample(range(6), 3):
            price = chance.randrange(100, 1000)
            rows += receipt(number, price=f"{price / 100:.2f}")
            right[f"S1-1-R{number}"] = price / 50
        written.append(shop.export(str(night), *rows, age_s=(20 - night) * 86_400))
        arguments = ["--all-files"] if night % 3 == 2 else []
        assert shop.run("-q", *arguments, shop.folder).code == 0
        assert totals(shop) == right


@pytest.mark.parametrize("source", ["{}", "{}/*.csv"])
def test_nothing_new_is_reported_and_is_no_error(shop: Shop, source: str) -> None:
    shop.export("1", *receipt(1))
    source = source.format(shop.folder)
    assert numbers(shop.run(source)) == (1, 1, 0)
    again = shop.run(source)
    assert again.code == 0
    assert "Nothing new: 1 file was imported before; --all-files takes all again." in again.stderr
    assert (again.summary["run_id"], again.summary["requests"]["sent"]) == ("", 0)
    assert len(list((shop.home / "w" / "runs").iterdir())) == 1
    assert numbers(shop.run(source, "--all-files")) == (1, 0, 1)


def test_a_file_that_is_named_is_always_read(shop: Shop) -> None:
    file = shop.export("1", *receipt(1))
    assert numbers(shop.run(file)) == (1, 1, 0)
    assert numbers(shop.run(file)) == (1, 0, 1)
    assert "Nothing new" in shop.run().stderr


def test_a_file_that_was_only_touched_is_not_read_again(shop: Shop) -> None:
    file = shop.export("1", *receipt(1))
    shop.run()
    os.utime(file, (YESTERDAY + 60,) * 2)
    assert "Nothing new" in shop.run().stderr


def test_a_file_counts_as_done_only_once_its_run_is_delivered(shop: Shop) -> None:
    shop.export("1", *receipt(1), *receipt(2))
    prepared = shop.command("prepare", "-m", "pos_lines", shop.folder).summary
    assert shop.command("prepare", "-m", "pos_lines", shop.folder).summary["transactions"]["read"] == 2
    shop.omneo.set_faults(error_share=1.0)
    failing = ("--give-up-after", "0s")
    assert shop.command("load", prepared["run_id"], *failing).code == 5
    shop.omneo.set_faults(error_share=0.0)
    assert numbers(shop.run()) == (2, 2, 0)
    assert "Nothing new" in shop.run().stderr


def test_refused_transactions_do_not_bring_their_file_back(shop: Shop) -> None:
    shop.export("1", *receipt(1))
    shop.omneo.set_faults(refused_share=1.0)
    assert shop.run().code == 4
    shop.omneo.set_faults(refused_share=0.0)
    assert "Nothing new" in shop.run().stderr


def test_a_changed_mapping_or_look_up_table_makes_every_file_new(shop: Shop, tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "mappings" / "pos_lines.yaml").read_text(encoding="utf-8")
    text = text.replace(
        "location_id: store_code", "location_id: {lookup: stores, key: store_code, value: id}"
    )
    mapping = tmp_path / "shop.yaml"
    mapping.write_text(text + "\nlookups:\n  stores: {file: stores.csv, key: [code]}\n", encoding="utf-8")
    (tmp_path / "stores.csv").write_text("code,id\nS1,MEL\n", encoding="utf-8")
    shop.mapping = str(mapping)
    shop.export("1", *receipt(1))
    assert numbers(shop.run()) == (1, 1, 0)
    assert "Nothing new" in shop.run().stderr
    (tmp_path / "stores.csv").write_text("code,id\nS1,SYD\n", encoding="utf-8")
    assert numbers(shop.run()) == (1, 1, 0)
    text = mapping.read_text(encoding="utf-8").replace("about: ", "about: Changed. ", 1)
    mapping.write_text(text, encoding="utf-8")
    assert numbers(shop.run()) == (1, 0, 1)


def test_files_of_several_tables_are_taken_together(shop: Shop, tmp_path: Path) -> None:
    shop.mapping = str(tmp_path / "tables.yaml")
    Path(shop.mapping).write_text(TABLES, encoding="utf-8")
    shop.folder.mkdir()
    write(shop.folder / "sales_1.csv", "id,at,total\nA,2024-03-01 10:00:00,5.00\n")
    write(shop.folder / "items_1.csv", "id,name,price\nA,Hat,5.00\n")
    assert numbers(shop.run()) == (1, 1, 0)
    assert "Nothing new: 2 files were" in shop.run().stderr
    write(shop.folder / "sales_2.csv", "id,at,total\nB,2024-03-02 10:00:00,7.00\n")
    write(shop.folder / "items_2.csv", "id,name,price\nB,Cap,7.00\n", age_s=0)
    left = shop.run("--settle", "1h", shop.folder)
    assert "Nothing new: still being written and left alone: items_2.csv" in left.stderr
    assert numbers(shop.run()) == (2, 1, 1)


TABLES = """
mapping: tables
source:
  layout: tables
  tables:
    headers: {inputs: ["sales*.csv"], key: [id]}
    items: {inputs: ["items*.csv"], key: [id]}
transaction:
  external_id: id
  transacted_at: {column: at, then: [{datetime: {formats: ["%Y-%m-%d %H:%M:%S"], timezone: {constant: UTC}}}]}
  total: total
items:
  name: name
  quantity: {constant: 1}
  price_sell: price
  price_current: price
"""


def write(path: Path, text: str, age_s: float = 86_400) -> None:
    path.write_text(text, encoding="utf-8")
    os.utime(path, (time.time() - age_s,) * 2)


# ── Times ───────────────────────────────────────────────────────────────────────────────────────────


def test_since_goes_by_the_time_of_the_file(shop: Shop) -> None:
    shop.export("old", *receipt(1), age_s=3 * 86_400)
    shop.export("new", *receipt(2), age_s=3_600)
    assert numbers(shop.run("--since", "2d", shop.folder)) == (1, 1, 0)
    day = (datetime.now(UTC) - timedelta(days=2)).date().isoformat()
    ended = shop.run("--since", day, shop.folder)
    assert "Nothing new" in ended.stderr
    assert "1 file was last modified before" in ended.stderr
    assert numbers(shop.run()) == (1, 1, 0)


@pytest.mark.parametrize("text", ["yesterday", "2024-13-01", "7 weeks", "-1d"])
def test_a_time_that_is_none_is_reported(shop: Shop, text: str) -> None:
    shop.export("1", *receipt(1))
    ended = shop.run("--since", text, shop.folder)
    assert ended.code == 2
    assert "expected a date such as 2024-06-30" in ended.stderr


def test_a_file_that_somebody_writes_is_left_alone(shop: Shop) -> None:
    shop.export("1", *receipt(1))
    growing = shop.export("2", *receipt(2), age_s=0)
    until = time.monotonic() + 30

    def write_on() -> None:
        while growing.exists() and time.monotonic() < until:
            with growing.open("a", encoding="utf-8") as file:
                file.write(",".join(receipt(3, 1)[0]) + "\n")
            time.sleep(0.05)

    writer = Thread(target=write_on)
    writer.start()
    ended = shop.run()
    growing.unlink()
    writer.join()
    assert numbers(ended) == (1, 1, 0)
    assert "Still being written and left alone: pos_lines_2.csv" in ended.stderr


def test_a_file_that_was_just_written_is_taken(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incremental, "BETWEEN_LOOKS_S", 0.01)
    shop.export("1", *receipt(1), age_s=0)
    assert numbers(shop.run()) == (1, 1, 0)


@pytest.mark.parametrize("arguments", [(), ("--settle", "10m"), ("--since", "2d")])
@pytest.mark.parametrize("ahead_s", [1, 60, 400 * 86_400])
def test_a_file_from_the_future_is_read_once_it_rests(
    shop: Shop, ahead_s: float, arguments: tuple[str, ...]
) -> None:
    shop.export("1", *receipt(1), age_s=-ahead_s)
    ended = shop.run(*arguments, shop.folder)
    if ahead_s > 5 or "--settle" not in arguments:
        assert numbers(ended) == (1, 1, 0)
        assert ("time lies in the future" in ended.stderr) == (ahead_s > 5)
        again = shop.run(*arguments, shop.folder)
        assert "Nothing new" in again.stderr
        assert "future" not in again.stderr


def test_a_file_from_the_future_that_somebody_writes_is_left_alone(shop: Shop) -> None:
    growing, over = shop.export("1", *receipt(1), age_s=-3_600), time.time() + 30

    def write_on() -> None:
        while growing.exists() and time.time() < over:
            with growing.open("a", encoding="utf-8") as file:
                file.write(",".join(receipt(3, 1)[0]) + "\n")
            os.utime(growing, (time.time() + 3_600,) * 2)
            time.sleep(0.05)

    writer = Thread(target=write_on)
    writer.start()
    ended = shop.run()
    growing.unlink()
    writer.join()
    assert "Nothing new: still being written and left alone: pos_lines_1.csv" in ended.stderr


def test_an_empty_file_from_the_far_future_is_an_error(shop: Shop) -> None:
    shop.export("1", *receipt(1))
    empty = shop.folder / "pos_lines_2.csv"
    empty.touch()
    os.utime(empty, (time.time() + 60,) * 2)
    assert numbers(shop.run()) == (1, 1, 0)
    os.utime(empty, (time.time() + 86_400,) * 2)
    ended = shop.run()
    assert (ended.code, "pos_lines_2.csv is empty" in ended.stderr) == (2, True)


def test_a_file_from_the_future_does_not_outlive_later_ones(shop: Shop) -> None:
    shop.export("1", *receipt(1, price="5.00"), age_s=-86_400)
    assert numbers(shop.run()) == (1, 1, 0)
    shop.export("2", *receipt(1, price="9.00"), age_s=0)
    assert numbers(shop.run()) == (1, 1, 0)
    assert [each["total"] for each in shop.omneo.transactions()] == [18.0]


def test_a_sale_from_the_future_is_taken_again_and_only_its_file(shop: Shop) -> None:
    ahead = datetime.now(UTC) + timedelta(hours=20)  # further ahead than any tolerance, in any zone
    shop.export("1", *receipt(1), *receipt(2, sale_datetime=ahead.strftime("%d/%m/%Y %H:%M:%S")))
    shop.export("2", *receipt(3))
    wrong = ahead.strftime("%d/%m/%Y %H:%M:%S")
    shop.export("3", *receipt(4, sale_datetime=wrong, sale_total="x"), *receipt(5))
    first = shop.run()
    assert numbers(first) == (5, 3, 0)
    assert first.summary["rejected"]["transacted_at_future"] == 2
    assert (
        "Taken again by the next run, since they hold sales from the future: pos_lines_1.csv" in first.stderr
    )
    second = shop.run()
    assert numbers(second) == (2, 0, 1), "what is wrong with the other one only a person can fix"
    manifest = Path(second.summary["run_dir"]) / "manifest.json"
    assert '"waiting": true' in manifest.read_text()


def test_all_files_of_a_sale_from_the_future_are_taken_again(shop: Shop) -> None:
    ahead = (datetime.now(UTC) + timedelta(hours=20)).strftime("%d/%m/%Y %H:%M:%S")
    first, second = receipt(1, sale_datetime=ahead)
    shop.export("1", first, *receipt(2))
    shop.export("2", second, *receipt(3))
    assert numbers(shop.run()) == (3, 2, 0)
    assert numbers(shop.run()) == (3, 0, 2)


def test_a_file_that_was_just_begun_is_left_alone_and_an_old_empty_one_is_an_error(shop: Shop) -> None:
    shop.export("1", *receipt(1))
    empty = shop.folder / "pos_lines_2.csv"
    empty.touch()
    assert numbers(shop.run()) == (1, 1, 0)
    os.utime(empty, (YESTERDAY,) * 2)
    ended = shop.run()
    assert (ended.code, "pos_lines_2.csv is empty" in ended.stderr) == (2, True)


def test_settle_waits_for_files_to_rest(shop: Shop) -> None:
    shop.export("1", *receipt(1), age_s=300)
    ended = shop.run("--settle", "10m", shop.folder)
    assert "Nothing new: still being written and left alone: pos_lines_1.csv." in ended.stderr
    assert numbers(shop.run("--settle", "4m", shop.folder)) == (1, 1, 0)


# ── Several exports at a time ───────────────────────────────────────────────────────────────────────


def test_after_a_failed_night_the_version_written_last_counts(shop: Shop) -> None:
    shop.export("b", *receipt(1), *receipt(2, lines=3), age_s=2 * 86_400)
    shop.omneo.set_faults(error_share=1.0)
    assert shop.run("--give-up-after", "0s", shop.folder).code == 5
    shop.omneo.set_faults(error_share=0.0)
    # The name says nothing about the time: this one is the later export.
    shop.export("a", *receipt(2, price="9.00", status="COMPLETED"), *receipt(3))
    both = shop.run()
    assert numbers(both) == (3, 3, 0)
    assert both.summary["warnings"]["older_version"] == 1
    assert both.summary["rejected"] == {}
    (corrected,) = (each for each in shop.omneo.transactions() if each["external_id"] == "S1-1-R2")
    assert (corrected["total"], len(corrected["items"])) == (18.0, 2)


def test_two_sales_with_one_number_stay_a_conflict(shop: Shop) -> None:
    shop.export("1", *receipt(1))
    shop.export("2", *receipt(1, price="9.00", sale_datetime="12/07/2024 09:00:00"))
    ended = shop.run()
    assert ended.summary["rejected"]["header_conflict"] == 1
    assert "older_version" not in ended.summary["warnings"]


def test_versions_of_several_tables_are_distinguished_table_by_table(shop: Shop, tmp_path: Path) -> None:
    shop.mapping = str(tmp_path / "tables.yaml")
    Path(shop.mapping).write_text(TABLES, encoding="utf-8")
    shop.folder.mkdir()
    head, line = "id,at,total\n", "id,name,price\n"
    write(shop.folder / "items_1.csv", line + "A,Hat,5.00\nB,Cap,7.00\n")
    twice = "B,2024-03-02 10:00:00,7.00\nB,2024-03-02 10:00:00,8.00\n"
    write(shop.folder / "sales_1.csv", head + "A,2024-03-01 10:00:00,5.00\n" + twice)
    first = shop.command("prepare", "-m", shop.mapping, shop.folder).summary
    assert (first["rejected"]["header_conflict"], first["warnings"].get("older_version")) == (1, None)
    write(shop.folder / "sales_2.csv", head + "A,2024-03-01 10:00:00,6.00\n", age_s=60)
    write(shop.folder / "items_2.csv", line + "A,Big hat,6.00\n", age_s=60)
    second = shop.command("prepare", "-m", shop.mapping, shop.folder).summary
    assert (second["transactions"]["accepted"], second["warnings"]["older_version"]) == (1, 1)
    assert second["totals"]["accepted"] == "6.00"


def test_a_line_that_was_corrected_is_not_added_to_the_old_one(shop: Shop) -> None:
    shop.export("1", *receipt(1))
    shop.export("2", *receipt(1, description="Hat"), age_s=3_600)
    assert numbers(shop.run()) == (1, 1, 0)
    assert [item["name"] for item in shop.omneo.transactions()[0]["items"]] == ["Hat", "Hat"]


def test_a_sale_that_goes_on_in_the_next_file_is_put_together(shop: Shop) -> None:
    first, second = receipt(1)
    shop.export("1", first)
    shop.export("2", second, age_s=3_600)
    found = shop.run()
    assert numbers(found) == (1, 1, 0)
    assert "older_version" not in found.summary["warnings"]


def test_a_sale_that_is_cut_in_two_is_not_taken_for_two_versions(shop: Shop) -> None:
    shop.export("1", receipt(1)[0])
    shop.export("2", receipt(1, staff_code="OTHER")[1], age_s=3_600)
    found = shop.run()
    assert found.summary["rejected"]["header_conflict"] == 1
    assert "older_version" not in found.summary["warnings"]


def test_versions_within_one_file_stay_a_conflict(shop: Shop) -> None:
    shop.export("1", *receipt(1))
    shop.export("2", *receipt(1, price="9.00"), *receipt(1, price="8.00"), age_s=3_600)
    assert "header_conflict" in shop.run().summary["rejected"]


# ── Thirty nights ───────────────────────────────────────────────────────────────────────────────────

FIRST_DAY = datetime(2024, 7, 1)
SALES_A_DAY = 30
WINDOW_DAYS = 7


@dataclass
class Till:
    """Sales, some of which come late and some of which are corrected; every night's export has a week."""

    random: random.Random = field(default_factory=lambda: random.Random(11))
    prices: dict[tuple[int, int], int] = field(default_factory=dict)
    known_from: dict[tuple[int, int], int] = field(default_factory=dict)
    exported: dict[str, list[int]] = field(default_factory=dict)

    def day(self, day: int) -> None:
        """Sell; one sale in ten reaches the head office only days later. Correct some of the last week."""
        for number in range(SALES_A_DAY):
            self.prices[day, number] = self.random.randrange(100, 9000)
            self.known_from[day, number] = day + (self.random.randrange(1, 6) if number % 10 == 0 else 0)
        for sale in self.random.sample(self.window(day), 4):
            self.prices[sale] += 1

    def window(self, night: int) -> list[tuple[int, int]]:
        return [
            sale
            for sale, known_from in self.known_from.items()
            if known_from <= night and night - WINDOW_DAYS < sale[0]
        ]

    def export(self, night: int) -> list[Row]:
        rows = []
        for day, number in self.window(night):
            cents, moment = self.prices[day, number], FIRST_DAY + timedelta(days=day, minutes=number)
            price, when = f"{cents / 100:.2f}", moment.strftime("%d/%m/%Y 12:%M:00")
            rows += receipt(f"{day}-{number}", 1, price=price, sale_datetime=when)
            versions = self.exported.setdefault(f"S1-1-R{day}-{number}", [])
            if cents not in versions[-1:]:
                versions.append(cents)
        return rows


def test_thirty_nights_send_each_version_once(shop: Shop) -> None:
    till = Till()
    sent = read = 0
    for night in range(30):
        till.day(night)
        before = sum(map(len, till.exported.values()))
        shop.export(f"{night:02}", *till.export(night))
        versions = sum(map(len, till.exported.values())) - before
        found = shop.run("-q", shop.folder)
        of_window = len(till.window(night))
        assert numbers(found) == (of_window, versions, of_window - versions)
        sent, read = sent + found.summary["requests"]["sent"], read + of_window
    arrivals = Counter(shop.arrived())
    assert arrivals == {name: len(versions) for name, versions in till.exported.items()}
    assert sent == arrivals.total() < read / 5
    held: dict[str, Any] = {each["external_id"]: each["total"] for each in shop.omneo.transactions()}
    assert held == {name: versions[-1] / 100 for name, versions in till.exported.items()}
    assert max(arrivals.values()) > 1, "the simulation made no correction"


def test_a_run_whose_files_a_later_one_delivered_is_not_unfinished(shop: Shop) -> None:
    shop.export("a", *receipt(1), *receipt(2))
    first = shop.command("prepare", "-m", "pos_lines", shop.folder).summary["run_id"]
    shop.export("b", *receipt(3))
    assert "Ready to load" in shop.command("status").stderr
    second = shop.run()
    assert second.summary["delivery"]["delivered"] == 3
    listed = shop.command("status").stderr
    assert (listed.count("Replaced by a later run"), listed.count("Delivered")) == (1, 1)
    assert (
        f"All its files were delivered by run {second.summary['run_id']}"
        in shop.command("status", first).stderr
    )
    own = json.loads((shop.home / "w" / "runs" / first / "report.json").read_text(encoding="utf-8"))
    assert own["verdict"]["headline"] == "Replaced by a later run", "its own report was written again"
    assert own["replaced_by"] == second.summary["run_id"]


def test_a_run_is_replaced_though_a_sale_from_the_future_keeps_its_file_coming_back(shop: Shop) -> None:
    ahead = (datetime.now(UTC) + timedelta(hours=20)).strftime("%d/%m/%Y %H:%M:%S")
    shop.export("a", *receipt(1), *receipt(2, sale_datetime=ahead))
    first = shop.command("prepare", "-m", "pos_lines", shop.folder).summary["run_id"]
    second = shop.run()
    assert second.summary["delivery"]["delivered"] == 1
    status = shop.command("status", first).stderr
    assert f"All its files were delivered by run {second.summary['run_id']}" in status
    own = json.loads((shop.home / "w" / "runs" / first / "report.json").read_text(encoding="utf-8"))
    assert own["replaced_by"] == second.summary["run_id"]


def test_a_night_is_refused_at_once_while_another_load_runs_and_a_dry_run_is_not(shop: Shop) -> None:
    shop.export("a", *receipt(1))
    shop.command("prepare", "-m", "pos_lines", shop.folder)
    with workdir_lock(Workdir(shop.home / "w"), "load"):
        refused = shop.run()
        assert (refused.code, "in use by process" in refused.stderr) == (6, True)
        assert len(Workdir(shop.home / "w").runs) == 1, "nothing was prepared in vain"
        assert shop.command("prepare", "-m", "pos_lines", shop.folder).code == 0
        assert "In use by process" in shop.command("status").stderr
