"""What a dry run of made-up exports shows: every form of the report, and the terminal."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline.testing import LocalOmneo
from tests.command import SAMPLE, Ended, call
from tests.receipts import COLUMNS, Row, export, receipt, write_export
from tests.validation.anomalies.shop import MONDAY, Sale, ordinary

pytestmark = pytest.mark.slow

AT = "transacted_at|local"


@pytest.fixture
def do(tmp_path: Path) -> Callable[..., Ended]:
    """Run a command in a working directory of its own."""

    def run(command: str, *arguments: object, env: dict[str, str] | None = None) -> Ended:
        mapping = ("-m", "pos_lines") if command in ("prepare", "run", "check", "preview") else ()
        return call(command, *mapping, *arguments, "--workdir", tmp_path / "w", env=env)

    return run


def report_of(ended: Ended) -> dict[str, Any]:
    """What `report.json` of a run says; the call was made with `--json`."""
    report: dict[str, Any] = json.loads((Path(ended.summary["run_dir"]) / "report.json").read_text())
    return report


# ── How codes are treated ────────────────────────────────────────────────────────────────────────────


def treated(tmp_path: Path, checks: str, **cells: str) -> Ended:
    """A dry run of a file with an unused column and unreadable characters, with `checks` of its own."""
    mapping = tmp_path / "mine.yaml"
    shipped = (Path(SAMPLE).parents[1] / "mappings" / "pos_lines.yaml").read_text(encoding="utf-8")
    text = shipped.partition("\nchecks:")[0].replace(
        'csv: {delimiter: ","}', 'csv: {delimiter: ",", on_encoding_error: replace}'
    )
    mapping.write_text(f"{text}\nchecks: {checks}\n", encoding="utf-8")
    rows = [[*COLUMNS, "mood"], *([*row, "fine"] for row in receipt(1, description="Caf?", **cells))]
    content = "\n".join(",".join(row) for row in rows).encode().replace(b"Caf?", b"Caf\xe9")
    (tmp_path / "pos_lines.csv").write_bytes(content + b"\n")
    return call("prepare", "-m", mapping, tmp_path / "pos_lines.csv", "--workdir", tmp_path / "w", "--json")


def test_a_tolerance_alone_leaves_a_code_as_severe_as_it_is(tmp_path: Path) -> None:
    checks = "{partially_paid: {tolerance: 0.05}}"
    assert treated(tmp_path, checks, tender_amount="4.95").summary["transactions"]["accepted"] == 1
    assert treated(tmp_path, checks, tender_amount="4.94").summary["dropped"] == {"partially_paid": 1}


def test_warnings_about_a_file_can_be_turned_off(tmp_path: Path) -> None:
    warned = treated(tmp_path, "{guest: off}")
    assert warned.summary["warnings"] == {"encoding_replaced": 2, "unmapped_column": 1}
    quiet = treated(tmp_path, "{unmapped_column: off, encoding_replaced: off}")
    assert quiet.summary["warnings"] == {}
    assert "not mapped" in warned.stderr
    assert "not mapped" not in quiet.stderr


def test_a_column_that_is_not_mapped_can_keep_a_run_from_starting(tmp_path: Path) -> None:
    refused = treated(tmp_path, "{unmapped_column: reject}")
    assert refused.code == 2
    assert "mine.yaml:6:1: not mapped: mood; map them or list them in `ignore`" in refused.stderr
    asked = treated(tmp_path, "{encoding_replaced: reject}")
    assert asked.code == 2
    assert "on_encoding_error: error" in asked.stderr


# ── Causes ───────────────────────────────────────────────────────────────────────────────────────────


def test_rejections_from_one_wrong_date_format_are_one_problem_everywhere(
    do: Callable[..., Ended], tmp_path: Path
) -> None:
    rows = [
        row
        for n in range(2000)
        for row in receipt(n, 1, sale_datetime=f"2024-{1 + n % 12:02}-{1 + n % 28:02}T09:{n % 60:02}")
    ]
    file = write_export(tmp_path / "till.csv", rows)
    result = do("prepare", file, "--json")
    report = report_of(result)
    (cause,) = [each for each in report["causes"] if each["outcome"] == "rejected"]
    fix = 'These are dates of the form "%Y-%m-%dT%H:%M": add it to `formats`.'
    assert (cause["transactions"], cause["code"], cause["fix"]) == (2000, "transacted_at_invalid", fix)
    first = cause["examples"][0]
    assert (first["value"], first["source"], first["line"]) == ("2024-01-01T09:00", file.name, 2)

    page = Path(report["report"]).read_text(encoding="utf-8")
    assert page.count('<li class="cause">') == 1
    assert "<code>formats</code>" in page
    assert f"{file.name}:2" in page
    markdown = do("report", "latest", "--format", "markdown").stdout
    assert markdown.count("`transacted_at_invalid`") == 1
    assert f"{file.name}:2 `2024-01-01T09:00`" in markdown
    for terminal in (result.stderr, do("status", "latest").stdout):
        assert terminal.count("transacted_at_invalid") == 1
        assert f"{file.name}:2: '2024-01-01T09:00' is not a date" in terminal
        assert fix in terminal


def test_both_names_of_rows_that_disagree_are_masked_in_every_report(
    do: Callable[..., Ended], tmp_path: Path
) -> None:
    first, second = receipt(1, customer_email="Anna Lee"), receipt(1, customer_email="Bob Roy")
    file = write_export(tmp_path / "pos_lines.csv", [*first, *second])
    ended = do("prepare", file, "--json", "-v")
    run = Path(ended.summary["run_dir"])
    kept = run / "review.json"
    quarantine = (run / "quarantine.csv").read_text(encoding="utf-8")
    assert "is Anna Lee on line 2 and Bob Roy here" in quarantine
    older = json.loads(kept.read_text(encoding="utf-8"))
    del older["personal_values_marked"]
    for record in (kept.read_text(encoding="utf-8"), json.dumps(older)):
        kept.write_text(record, encoding="utf-8")
        markdown = do("report", "latest", "--format", "markdown").stdout
        shown = ended.stderr + markdown + do("status", "latest").stdout
        shown += "".join((run / name).read_text() for name in ("report.html", "report.json", "run.log.jsonl"))
        assert "Anna" not in shown
        assert "Bob" not in shown
        assert not set("\u2068\u2069") & set(quarantine + shown)


def test_columns_that_the_mapping_does_not_use_are_named_in_the_report(
    do: Callable[..., Ended], tmp_path: Path
) -> None:
    file = tmp_path / "pos_lines.csv"
    with file.open("w", newline="") as text:
        csv.writer(text).writerows([[*COLUMNS, "mood"], *([*row, "fine"] for row in receipt(1))])
    report = report_of(do("prepare", file, "--json"))
    (cause,) = report["causes"]
    assert (cause["code"], cause["transactions"]) == ("unmapped_column", 1)
    assert cause["examples"][0]["value"] == "mood"


def test_what_the_dry_run_found_is_not_repeated_by_commands_about_delivery(
    do: Callable[..., Ended], omneo: LocalOmneo
) -> None:
    env = omneo.environment()
    prepared = do("prepare", SAMPLE).stdout
    assert "Rejected" in prepared
    assert "Dropped" in prepared
    for command in ("load", "confirm", "retry"):
        text = do(command, "latest", env=env).stdout
        for noise in ("Rejected", "Dropped", "Warnings", "malformed"):
            assert noise not in text, command
        assert "delivered" in text
    again = do("run", SAMPLE, env=env).stdout
    assert "Rejected" in again
    assert "unchanged" in again


def test_what_was_sent_and_what_was_not_have_their_worth(
    do: Callable[..., Ended], omneo: LocalOmneo, tmp_path: Path
) -> None:
    sales = [row for n, price in enumerate(("1.00", "2.00", "4.00")) for row in receipt(n, 1, price=price)]
    prepared = do("prepare", write_export(tmp_path / "pos_lines.csv", sales), "--json")
    do("load", "latest", "--first", "2", "--reactions", "allow", env=omneo.environment())
    report = report_of(prepared)
    worth = {row["name"]: row["worth"] for row in report["where"] if row["transactions"]}
    assert Decimal(worth["Delivered"]) + Decimal(worth["Pending"]) == Decimal("7.00")
    assert worth["Pending"] in ("1.00", "2.00", "4.00")
    assert f"1 pending, still to be sent (AUD {worth['Pending']})" in report["verdict"]["sentence"]
    assert report["verdict"]["steps"][0]["command"].startswith("omneo-import load")


# ── The list of reasons is no source ─────────────────────────────────────────────────────────────────


def test_running_the_list_of_reasons_says_which_file_to_fix(do: Callable[..., Ended], tmp_path: Path) -> None:
    file = write_export(tmp_path / "pos_lines.csv", [*receipt(1), *receipt(2, sale_total="x")])
    run = Path(do("prepare", file, "--json").summary["run_dir"])
    refused = do("run", run / "quarantine.csv", env={"OMNEO_TENANT": "acme", "OMNEO_TOKEN": "t"})
    assert (refused.code, refused.stdout) == (2, "")
    assert "quarantine.csv lists what a run did not import" in refused.stderr
    assert "Fix `quarantine_rows.csv`" in refused.stderr
    fixed = (run / "quarantine_rows.csv").read_text(encoding="utf-8-sig").replace('"x"', '"5.00"')
    (tmp_path / "fixed.csv").write_text(fixed)
    assert do("prepare", tmp_path / "fixed.csv", "--json").summary["transactions"]["accepted"] == 1


def test_the_columns_of_a_source_are_listed_once(do: Callable[..., Ended], tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("alpha,beta,receipt_no\n1,2,3\n")
    result = do("check", tmp_path / "other.csv")
    assert result.code == 2
    assert result.stderr.count("alpha, beta, receipt_no") == 1
    assert result.stderr.splitlines()[-1] == "  The source has the columns alpha, beta, receipt_no."
    assert "there is no column 'sale_total' in the source\n" in result.stderr


# ── Control totals, gate, preflight ──────────────────────────────────────────────────────────────────


def test_control_totals_stand_beside_what_was_found(do: Callable[..., Ended], tmp_path: Path) -> None:
    days = [
        *receipt(1, sale_datetime="01/07/2024 09:00:00"),
        *receipt(2, sale_datetime="01/07/2024 23:30:00", status="DRAFT"),
        *receipt(3, sale_datetime="02/07/2024 09:00:00"),
        *receipt(4, sale_datetime="02/07/2024 10:00:00", customer_email="nobody"),
    ]
    control = tmp_path / "control.csv"
    control.write_text("day,store,count,sum\n2024-07-01,S1,2,10.00\n2024-07-02,S1,3,15.00\n")
    prepared = do("prepare", write_export(tmp_path / "pos_lines.csv", days), "--control", control, "--json")
    good, bad = sorted(report_of(prepared)["controls"], key=lambda row: row["key"]["day"])
    assert good["agrees"]
    assert good["key"] == {"day": "2024-07-01", "store": "S1"}
    for name, number, total in (("read", 2, "10.00"), ("staged", 1, "5.00"), ("dropped", 1, "5.00")):
        assert good[name] == {"transactions": number, "total": total}
    assert not bad["agrees"]
    assert bad["difference"] == {"transactions": -1, "total": "-5.00"}
    assert bad["rejected"] == {"transactions": 1, "total": "5.00"}
    look = "1 of 2 control totals differ"
    assert look in prepared.stderr
    assert look in do("report", "latest", "--format", "markdown").stdout
    assert "≠ differs" in Path(prepared.summary["report"]).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("day,amount\n2024-07-01,3\n", "control.csv"),
        ("day,count\n01/07/2024,3\n", "01/07/2024"),
        ("", "control.csv"),
    ],
)
def test_control_totals_that_cannot_be_read_are_one_clear_error(
    text: str, words: str, do: Callable[..., Ended], tmp_path: Path
) -> None:
    (tmp_path / "control.csv").write_text(text)
    file = export(tmp_path / "pos_lines.csv", 2)
    result = do("prepare", file, "--control", tmp_path / "control.csv")
    assert (result.code, result.stdout) == (2, "")
    assert words in result.stderr


def test_the_gate_is_reported_in_every_form(do: Callable[..., Ended], tmp_path: Path) -> None:
    file = write_export(tmp_path / "pos_lines.csv", [*receipt(1), *receipt(2, sale_total="x")])
    result = do("prepare", file, "--max-rejected", "49%", "--json")
    assert result.code == 3
    report = report_of(result)
    assert report["gate"] == {"limit": "49%", "closed": True}
    headline = "Not ready: too much was rejected"
    assert headline == report["verdict"]["headline"]
    assert headline in do("report", "latest", "--format", "markdown").stdout
    assert headline in do("status", "latest").stdout
    page = Path(report["report"]).read_text(encoding="utf-8")
    assert "that is exceeded, so nothing can be sent" in page
    assert "omneo-import load" not in page


def test_the_tenants_answers_join_every_form_of_the_report(
    do: Callable[..., Ended], omneo: LocalOmneo, tmp_path: Path
) -> None:
    prepared = do("prepare", export(tmp_path / "pos_lines.csv", 4), "--json")
    assert report_of(prepared)["preflight"] is None
    asked = do("preflight", "latest", env=omneo.environment()).stdout
    report = report_of(prepared)
    assert omneo.arrivals() == [], "no transaction was sent"
    answers = {answer["title"]: answer for answer in report["preflight"]}
    assert answers["Token"]["good"]
    created = answers["Locations that would be created"]
    assert (created["good"], created["evidence"]) == (False, ["S1: 4 transactions"])
    assert "not well  Locations that would be created" in asked
    assert report["verdict"]["headline"] == "Ready, with 1 thing to look at first"
    assert [look["text"] for look in report["verdict"]["looks"]] == ["Locations that would be created"]
    assert "1 thing to look at first" in asked
    assert "S1: 4 transactions" in asked
    page = Path(report["report"]).read_text(encoding="utf-8")
    assert '<section id="preflight">' in page
    assert "Locations that would be created" in do("report", "latest", "--format", "markdown").stdout


# ── Planted faults ───────────────────────────────────────────────────────────────────────────────────


def rows_of(sales: Iterable[Sale], *, less_tax: bool = False) -> list[Row]:
    """Sales as rows of an export: one line each, of whose price an eleventh is tax."""
    rows = []
    for number, each in enumerate(sales):
        price = each["total"]
        tax = (price / 11).quantize(Decimal("0.01"))
        total = str(price - tax if less_tax else price)
        cells = {
            "store": each["location_id"],
            "price": str(price),
            "sale_datetime": f"{each[AT]:%d/%m/%Y %H:%M:%S}",
            "customer_email": each["profile_id"] or "",
            "sale_total": total,
            "tender_amount": total,
            "tax": str(tax),
        }
        rows += receipt(number, 1, **cells)
    return rows


def wrong_zone(sales: list[Sale]) -> list[Sale]:
    return [{**each, AT: each[AT] - timedelta(hours=10)} for each in sales]


def typo_store(sales: list[Sale]) -> list[Sale]:
    where = next(n for n, each in enumerate(sales) if each["location_id"] == "Carlton")
    return [{**each, "location_id": "Carltn"} if n == where else each for n, each in enumerate(sales)]


def missing_day(sales: list[Sale]) -> list[Sale]:
    gone = MONDAY + timedelta(days=30)
    return [each for each in sales if each[AT].date() != gone]


FAULTS: dict[str, tuple[Callable[[list[Sale]], list[Sale]], list[str], str]] = {
    "none": (lambda sales: sales, [], ""),
    "wrong zone": (wrong_zone, ["sales_at_night"], "hardly any sales from"),
    "typo store": (typo_store, ["location_unusual"], "'Carltn': 1 sale (pos_lines.csv line "),
    "missing day": (missing_day, ["days_without_sales"], "Wednesday 2024-05-01: no sales"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_and_named(fault: str, do: Callable[..., Ended], tmp_path: Path) -> None:
    plant, codes, evidence = FAULTS[fault]
    file = write_export(tmp_path / "pos_lines.csv", rows_of(plant(ordinary())))
    prepared = do("prepare", file, "--json")
    assert_found(prepared, codes, evidence)
    assert prepared.summary["transactions"]["rejected"] == 0


def assert_found(prepared: Ended, codes: list[str], evidence: str) -> None:
    findings = report_of(prepared)["findings"]
    assert [finding["code"] for finding in findings] == codes
    page = Path(prepared.summary["report"]).read_text(encoding="utf-8")
    for finding in findings:
        assert evidence in "\n".join(finding["evidence"])
        assert finding["title"] in page
        assert finding["title"] in prepared.stderr


def test_totals_without_tax_are_found_and_named(do: Callable[..., Ended], tmp_path: Path) -> None:
    file = write_export(tmp_path / "pos_lines.csv", rows_of(ordinary(), less_tax=True))
    assert_found(do("prepare", file, "--json"), ["total_without_tax"], "total = items − tax")


@pytest.mark.parametrize("other_numbers", [False, True])
def test_a_doubled_file_is_found_and_named(
    other_numbers: bool, do: Callable[..., Ended], tmp_path: Path
) -> None:
    rows = rows_of(ordinary())
    first = write_export(tmp_path / "pos_lines_1.csv", rows)
    second = tmp_path / "pos_lines_2.csv"
    if other_numbers:
        write_export(second, [[f"again-{row[0]}", *row[1:]] for row in rows])
    else:
        shutil.copy(first, second)
    prepared = do("prepare", first, second, "--json")
    evidence = "pos_lines_1.csv and pos_lines_2.csv" if other_numbers else "2,400 of 2,400 transactions"
    assert_found(prepared, ["doubled_file"], evidence)


def test_a_list_of_another_version_has_other_columns_and_is_no_source_either(
    do: Callable[..., Ended], tmp_path: Path
) -> None:
    file = tmp_path / "quarantine.csv"
    file.write_text("outcome,code,field,value,message,source,line,external_id,raw,receipt\n" + "," * 9 + "\n")
    refused = do("prepare", file)
    assert refused.code == 2
    assert "quarantine.csv lists what a run did not import" in refused.stderr


def test_a_source_whose_columns_only_begin_like_those_of_a_list_is_one(
    do: Callable[..., Ended], tmp_path: Path
) -> None:
    file = tmp_path / "sales.csv"
    file.write_text("outcome,code,field,value,message_id,total\n1,2,3,4,5,6\n")
    refused = do("prepare", file)
    assert refused.code == 2
    assert "lists what a run did not import" not in refused.stderr
