"""The tests that a mapping brings along: what passes, what fails and where; and tests from real rows."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import indent

import pytest

from pipeline.core.events import ignore
from pipeline.mapping.compile.check import check_mapping
from pipeline.mapping.language.mapping_file import load_mapping, read_mapping
from pipeline.mapping.language.shipped import shipped_names, shipped_sample
from pipeline.workflows.drafted_tests import drafted_tests
from pipeline.workflows.mapping_tests import differences, failures
from pipeline.workflows.preparation.import_plan import plan_import
from pipeline.workflows.preview import preview
from tests.command import call

MAPPING = """\
mapping: shop
source: {key: [Receipt]}
columns: {Pieces: integer, Price: decimal}
transaction:
  external_id: Receipt
  total: Total
  transacted_at: {column: Sold, then: [{datetime: {formats: [iso], timezone: {constant: UTC}}}]}
completion: {status: State, complete: [PAID], draft: [OPEN]}
items:
  external_id: {template: "{Receipt}-{Line}"}
  name: Title
  quantity: Pieces
  price_current: Price
  price_sell: Price
"""
ROW = (
    "{Receipt: 7, Sold: 2024-05-01 10:00, State: PAID, Total: 5, Line: 1, Title: Cup, Pieces: 2, Price: 2.50}"
)


def reported(expect: str, rows: str = f"rows: [{ROW}]", mapping: str = MAPPING) -> list[str]:
    """What a test with this expectation says, as line within the test: message without the test's name."""
    test = f"name: t\n{rows}\nexpect: {expect}\n"
    text = f"{mapping}tests:\n  -\n{indent(test, '    ')}"
    loaded = read_mapping(Path("m.yaml"), text.encode())
    first = mapping.count("\n") + 3
    found = check_mapping(loaded) or failures(loaded)
    return [f"{each.line - first}: {each.message.removeprefix(_FAILS)}" for each in found]


_FAILS = "the test 't' fails: "


@pytest.mark.parametrize(
    "expect",
    [
        "{payload: {total: 5}}",
        "{payload: {total: 5.00, external_id: 7}}",
        '{payload: {external_id: "7", items: [{name: Cup, quantity: 2, sku: null}], currency: null}}',
        "{payload: {items: [{name: Cup, price_current: 2.5, price_sell: 2.5, external_id: 7-1}]}}",
    ],
)
def test_keys_that_are_given_have_to_be_equal(expect: str) -> None:
    assert reported(expect) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("expect", "message"),
    [
        ("{payload: {total: 6}}", "2: `total` is 5.0, and 6 was expected"),
        ("{payload: {external_id: 8}}", '2: `external_id` is "7", and 8 was expected'),
        ("{payload: {currency: GBP}}", '2: `currency` is not there, and "GBP" was expected'),
        ("{payload: {total: null}}", "2: `total` is 5.0, and no such key was expected"),
        ("{payload: {items: []}}", "2: `items` has 1 member, and 0 were expected"),
        ("{payload: {items: [{quantity: 1}]}}", "2: `items[0].quantity` is 2, and 1 was expected"),
        ("{dropped: draft}", "2: the sale is accepted, and dropped as draft was expected"),
        (
            "{rejected: total_mismatch}",
            "2: the sale is accepted, and rejected as total_mismatch was expected",
        ),
    ],
)
def test_what_differs_is_named_with_its_place(expect: str, message: str) -> None:
    assert reported(expect) == [message]


def test_a_sale_that_is_not_accepted_shows_why() -> None:
    rows = f"rows: [{ROW.replace('Total: 5', 'Total: 6')}]"
    assert reported("{rejected: total_mismatch}", rows) == []
    (message,) = reported("{payload: {total: 6}}", rows)
    assert message.startswith("2: the sale is rejected (total_mismatch: ")
    assert reported("{dropped: draft}", f"rows: [{ROW.replace('PAID', 'OPEN')}]") == []


def test_given_cells_are_on_every_row() -> None:
    rows = """\
given: {Receipt: 7, Sold: 2024-05-01 10:00, State: PAID, Total: 7.5}
rows:
  - {Line: 1, Title: Cup, Pieces: 2, Price: 2.50}
  - {Line: 2, Title: Pin, Pieces: 1, Price: 2.50}"""
    assert reported("{payload: {items: [{external_id: 7-1}, {external_id: 7-2}]}}", rows) == []


def test_rows_of_several_sales_or_of_none_are_no_test() -> None:
    two = f"rows: [{ROW}, {ROW.replace('Receipt: 7', 'Receipt: 8')}]"
    assert reported("{payload: {total: 5}}", two) == [
        "1: its rows make 2 sales (7, 8), and one sale was expected"
    ]
    assert reported("{payload: {total: 5}}", "rows: []") == [
        "1: its rows make no sale, and one sale was expected"
    ]


def test_a_mistyped_column_is_no_blank_cell() -> None:
    rows = f"rows: [{ROW.replace('Total', 'Totl')}]"
    expected = ["1: the mapping uses no column 'Totl'; did you mean 'Total'?"]
    assert reported("{rejected: total_missing}", rows) == expected


@pytest.mark.parametrize(
    ("expect", "rows", "message"),
    [
        ("{}", "rows: []", "one of `payload`, `rejected` and `dropped` was expected"),
        (
            "{rejected: x, dropped: draft}",
            "rows: []",
            "one of `payload`, `rejected` and `dropped` was expected",
        ),
        ("{dropped: drafts}", "rows: []", "'drafts' is not a code; did you mean 'draft'?"),
        ("{payload: {totl: 5}}", "rows: []", "a payload never has 'totl'; did you mean 'total'?"),
        (
            "{dropped: draft}",
            "rows: {line: []}",
            "'line' is not a table of the source; did you mean 'lines'?",
        ),
        ("{dropped: draft}", "given: {Line: 1}\nrows: {lines: []}", "`given` is for a list of rows"),
        ("{dropped: draft}", "rows: 5", "a list was expected"),
    ],
)
def test_a_test_that_is_wrong_in_form_says_so(expect: str, rows: str, message: str) -> None:
    try:
        found = reported(expect, rows)
    except Exception as error:
        found = [str(error)]
    assert message in found[0]


def test_rows_of_look_up_tables_can_be_given() -> None:
    mapping = MAPPING.replace(
        "transaction:", "lookups: {shops: {file: s.csv, key: [no], from: source}}\ntransaction:"
    )
    mapping = mapping.replace("  total:", "  location_id: {lookup: shops, key: Line, value: id}\n  total:")
    rows = f"rows: {{lines: [{ROW}], shops: [{{no: 1, id: MEL}}, {{no: 2, id: SYD}}]}}"
    assert reported("{payload: {location_id: MEL}}", rows, mapping) == []
    assert reported("{rejected: lookup_missing}", f"rows: [{ROW}]", mapping) == []


def test_false_zero_and_blank_are_cells_as_they_are_written() -> None:
    assert reported("{payload: {items: [{name: 'false'}]}}", f"rows: [{ROW.replace('Cup', 'false')}]") == []
    assert reported("{payload: {items: [{name: '0'}]}}", f"rows: [{ROW.replace('Cup', '0')}]") == []
    assert reported("{rejected: name_missing}", f"rows: [{ROW.replace('Cup', 'null')}]") == []


def test_objects_are_compared_by_the_keys_that_are_given() -> None:
    assert list(differences({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}})) == []
    assert [path for path, _ in differences({"a": [{"b": True}]}, {"a": [{"b": 1}]})] == [("a", 0, "b")]


def test_check_runs_them_and_counts_them(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(f"{MAPPING}tests: [{{name: t, rows: [{ROW}], expect: {{payload: {{total: 5}}}}}}]\n")
    passed = call("check", "-m", path, "--json")
    assert (passed.code, passed.summary["tests"]) == (0, 1)
    path.write_text(path.read_text().replace("{total: 5}", "{total: 6}"))
    failed = call("check", "-m", path)
    assert failed.code == 2
    assert failed.stderr.startswith(f"{path}:15:")
    assert "the test 't' fails: `total` is 5.0, and 6 was expected" in failed.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped_names())
def test_the_shipped_mappings_have_tests_that_pass(name: str) -> None:
    loaded = load_mapping(name)
    assert loaded.spec.tests
    assert failures(loaded) == []


# ── Drafted from real rows ──────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped_names())
def test_a_drafted_test_passes_where_it_is_pasted(name: str) -> None:
    loaded = load_mapping(name)
    samples = preview(plan_import(loaded, [str(shipped_sample(name))], ignore), 4).samples
    drafted = drafted_tests(loaded, samples)
    assert max(map(len, drafted.splitlines())) < 200
    text = f"{loaded.document.text.partition(chr(10) + 'tests:')[0]}\n{drafted}\n"
    pasted = read_mapping(loaded.path, text.encode())
    assert len(pasted.spec.tests) == len(samples)
    assert check_mapping(pasted) == []
    assert failures(pasted) == []


@pytest.mark.slow
def test_a_drafted_test_holds_the_rows_that_its_sale_looks_up(tmp_path: Path) -> None:
    source, shops, path = (tmp_path / name for name in ("s.csv", "shops.csv", "m.yaml"))
    source.write_text(
        "Receipt,Sold,Total,Line,Title,Pieces,Price,Shop,State\n"
        + "".join(f"{n},2024-05-01 10:00,5,1,Cup,2,2.50,{n},PAID\n" for n in (8, 9))
    )
    shops.write_text("no,id,phone\n7,PER,1\n8,MEL,2\n9,SYD,3\n")
    mapping = MAPPING.replace(
        "transaction:", "lookups: {shops: {file: shops.csv, key: [no], from: source}}\ntransaction:"
    ).replace("  total:", "  location_id: {lookup: shops, key: Shop, value: id}\n  total:")
    path.write_text(mapping)
    result = call("preview", "-m", path, source, shops, "--as-test", "--json")
    assert result.code == 0
    path.write_text(f"{mapping}{result.summary['tests']}\n")
    assert call("check", "-m", path).code == 0
    tests = load_mapping(str(path)).spec.tests
    assert [test.rows["shops"] for test in tests if isinstance(test.rows, dict)] == [
        ({"no": "8", "id": "MEL"},),
        ({"no": "9", "id": "SYD"},),
    ]


def test_tests_are_no_part_of_what_is_staged() -> None:
    bare, tested, other = (
        read_mapping(Path("m.yaml"), f"{text}\n".encode()).digest
        for text in (
            MAPPING,
            f"{MAPPING}tests: [{{name: t, rows: [{ROW}], expect: {{rejected: guest}}}}]  # a remark",
            MAPPING.replace("name: Title", "name: Line"),
        )
    )
    assert bare == tested != other


def test_a_drafted_test_names_no_person(tmp_path: Path) -> None:
    source = tmp_path / "s.csv"
    people = ["anna.berg@mail.test", "Anna Berg", "0412 555 678", "4111111111111111", "90017"]
    source.write_text(
        "Receipt,Sold,Total,Line,Title,Pieces,Price,Email,Customer name,Note,Card,Clerk,State\n"
        f"90017,2024-05-01 10:00,5,1,Cup,2,2.50,{people[0]},{people[1]},"
        f"call {people[2]},{people[3]},E12,PAID\n"
    )
    mapping = MAPPING.replace(
        "  total:",
        "  staff_id: Clerk\n  meta: {object: {who: Customer name, note: Note}}\n  total:",
    )
    mapping += "profile: [{value: Email, handle: email}, {value: Card, handle: card}]\n"
    path = tmp_path / "m.yaml"
    path.write_text(mapping)
    result = call("preview", "-m", path, source, "-n", 1, "--as-test", "--json")
    text = result.summary["tests"]
    assert result.code == 0
    assert not [each for each in people if each in text]
    assert "E12" not in text
    path.write_text(f"{mapping}{text}\n")
    assert call("check", "-m", path).code == 0
    (test,) = load_mapping(str(path)).spec.tests
    (row,) = test.rows
    assert isinstance(row, dict)
    assert row["Email"] == "person1@example.com"
    assert [len(str(row[name])) for name in ("Receipt", "Card", "Clerk")] == [5, 16, 3]
    assert json.dumps(test.expect.payload, default=str).count("person1@example.com") == 1
