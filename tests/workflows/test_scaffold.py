from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import SettingsError, SourceError
from pipeline.mapping.compile.check import check_mapping
from pipeline.mapping.language.draft_marks import open_values
from pipeline.mapping.language.mapping_file import read_mapping
from pipeline.mapping.language.shipped import shipped_mapping, shipped_names, shipped_sample
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.language.value_spec import Number, OpenValue
from pipeline.mapping.scaffold.draft import copy_of
from pipeline.mapping.scaffold.joined_files import shapes_of
from pipeline.mapping.scaffold.samples import Sample, kinds_of
from pipeline.mapping.scaffold.vocabulary.roles import ROLES
from pipeline.workflows.scaffold import drafted_from, samples
from tests.fuzzing import examples

pytestmark = pytest.mark.slow


def samples_of(*sources: Path) -> list[Sample]:
    return samples([str(source) for source in sources])


def checked(found: Sequence[Sample]) -> tuple[str, MappingSpec]:
    """A draft that passes `check` on the sample's columns, but for what it leaves open."""
    text = drafted_from(found)
    loaded = read_mapping(Path("draft.yaml"), text.encode())
    problems = check_mapping(loaded, shapes_of(kinds_of(found)[0])[0].columns)
    assert [problem for problem in problems if " is open (" not in problem.message] == []
    return text, loaded.spec


def table(name: str = "x.csv", **columns: Sequence[str | None]) -> Sample:
    return Sample(name, pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String)))


@pytest.mark.parametrize("name", shipped_names())
def test_a_draft_from_any_sample_passes_check(name: str) -> None:
    sample = shipped_sample(name)
    files = sorted(sample.iterdir()) if sample.is_dir() else [sample]

    checked(samples_of(*files))


LAYOUTS = {
    "pos_lines": ("lines", ("store_code", "register", "receipt_no")),
    "shopify_orders": ("first_row", ("Name",)),
    "lightspeed_x_sales": ("records", ("Receipt Number",)),
    "nested_parquet": ("nested", ("receipt_no",)),
    "square_items": ("lines", ("Transaction ID",)),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_and_key_are_found(name: str) -> None:
    _, spec = checked(samples_of(shipped_sample(name)))

    assert (spec.source.layout, spec.source.key) == LAYOUTS[name]


def test_the_reference_export_is_drafted_nearly_as_its_mapping_is() -> None:
    text, spec = checked(samples_of(shipped_sample("pos_lines")))
    right = read_mapping(Path("p.yaml"), shipped_mapping("pos_lines").read_bytes()).spec

    for field in ("receipt_ref", "location_id", "staff_id", "total"):
        assert spec.transaction[field] == right.transaction[field]
    for field in ("sku", "quantity", "price_sell", "price_original", "price_tax"):
        assert spec.items[field] == right.items[field]
    assert spec.completion == right.completion
    assert spec.profile == right.profile
    assert spec.payments == right.payments
    assert '"%d/%m/%Y %H:%M:%S"' in text
    assert "# unsure: in which time zone these times are" in text
    assert "# unsure: no column says it" in text


def test_several_files_become_tables_joined_on_their_number() -> None:
    directory = shipped_sample("marketplace_tables")
    text, spec = checked(samples_of(*sorted(directory.iterdir())))

    assert {table: entry.key for table, entry in spec.source.tables.items()} == {
        "headers": ("order_id",),
        "items": ("order_id",),
        "payments": ("order_id",),
    }
    assert "# unsure: customers_dataset.csv is not used; is it a look-up table?" in text


def test_files_whose_columns_came_over_the_years_are_one_export() -> None:
    old = table(
        "sales_2019.csv", no=["1", "1"], when=["2019-01-31", None], total=["5", None], price=["2", "3"]
    )
    new = table("shop-2024.csv", no=["2"], when=["2024-01-31"], total=["5"], price=["5"], email=["a@b.cd"])
    text, spec = checked([old, new])
    assert "unsure: sales" not in text
    assert (spec.source.inputs, spec.source.layout) == (("shop-[0-9]*.csv", "sales_[0-9]*.csv"), "first_row")
    assert spec.profile[0].value == "email"


def test_a_file_without_a_column_of_sales_is_left_out_and_reported() -> None:
    notes = Sample("NOTES.txt", pl.DataFrame({"Thanks": ["to all"], "column_2": ["x"]}))
    text, spec = checked([notes, table(no=["1"], when=["2019-01-31"], total=["5"])])
    assert spec.source.inputs == ("x.csv",)
    assert "# unsure: NOTES.txt is not used; it does not look like sales" in text


def test_a_list_in_an_object_is_found() -> None:
    lines = '{"line": [{"qty": 1, "price": "5", "sku": "A"}]}'
    _, spec = checked([table(no=["1"], when=["2019-01-31"], total=["5"], lines=[lines], odd=["{braces}"])])
    assert spec.source.nested is not None
    assert (spec.source.layout, spec.source.nested.items) == ("nested", "lines.line")
    assert spec.items["quantity"] == "items.qty"


@pytest.mark.parametrize("beside", [{}, {"count": ["1"]}])
def test_a_list_of_sales_in_one_document_is_named(beside: dict[str, list[str]]) -> None:
    with pytest.raises(SourceError) as refused:
        drafted_from([table(data=['[{"no": 1, "total": "5"}]'], **beside)])
    assert "jq -c '.data[]'" in str(refused.value.hint)


def test_file_names_with_dates_do_not_match_each_other() -> None:
    directory = shipped_sample("loyverse_receipts")
    _, spec = checked(samples_of(*sorted(directory.iterdir())))

    assert spec.source.tables["headers"].inputs == ("receipts-[0-9]*.csv",)
    assert spec.source.tables["headers"].key == ("Receipt number",)


def test_a_german_export_is_understood(tmp_path: Path) -> None:
    file = tmp_path / "Kasse 2025.csv"
    file.write_bytes(
        "Bonnr;Filiale;Datum;Uhrzeit;Kassierer;Summe;Zahlart;Pos;Artikelnummer;Bezeichnung;Menge;Einzelpreis\n"
        "1001;Köln;03.04.2025;10:15;Jörg;1.012,50 €;Bar;1;A1;Stuhl;2;500,00 €\n"
        "1001;Köln;03.04.2025;10:15;Jörg;1.012,50 €;Bar;2;A2;Kissen;1;12,50 €\n"
        "1002;Köln;13.04.2025;11:15;Jörg;12,50 €;EC;1;A2;Kissen;1;12,50 €\n".encode("cp1252")
    )

    text, spec = checked(samples_of(file))

    assert spec.source.key == ("Bonnr",)
    assert spec.source.csv.delimiter == ";"
    assert spec.source.csv.encoding == "cp1252"
    assert spec.source.number == Number(decimal=",", thousands=".", currency=("€",))
    assert '- datetime: {formats: ["%d.%m.%Y %H:%M"]' in text
    assert 'template: "{Datum} {Uhrzeit}"' in text
    assert 'external_id: {template: "{Bonnr}-{Pos}"}' in text
    assert "currency: {constant: EUR}" in text
    assert (spec.transaction["total"], spec.items["name"].first_of) == (
        "Summe",
        ("Bezeichnung", "Artikelnummer"),
    )  # type: ignore[union-attr]


def test_day_and_month_that_could_change_places_are_left_open() -> None:
    sample = table(receipt_no=["1", "2"], date=["04/03/2025 10:00", "05/03/2025 11:00"], total=["1", "2"])
    asked = "is 04/03/2025 10:00 written as %d/%m/%Y %H:%M or as %m/%d/%Y %H:%M?"

    assert f'transacted_at: {{open: "{asked}"}}' in drafted_from([sample])


def test_what_cannot_be_found_is_left_open_and_nothing_is_made_up() -> None:
    text, spec = checked([table(a=["1"], b=["x"])])

    assert spec.source.layout == "headers"
    assert text.count("# unsure:") == 1
    assert open_values(text) == 3
    assert (
        "  external_id: {open: \"no column's name and content say that it is the sale's number\"}\n" in text
    )
    assert "  transacted_at: {open: no column holds dates}\n" in text
    assert "  total: {open: no column holds the total}\n" in text
    assert "# Not used: b" in text


@pytest.mark.parametrize("missing", ["date", "product_name", "quantity"])
def test_a_required_field_without_a_column_is_open(missing: str) -> None:
    columns = {
        "receipt_no": ["1", "1", "2"],
        "date": ["2024-01-02", "2024-01-02", "2024-01-03"],
        "line_no": ["1", "2", "1"],
        "product_name": ["Tea", "Cup", "Tea"],
        "quantity": ["1", "2", "1"],
        "unit_price": ["3.50", "9.00", "3.50"],
        "total": ["21.50", "21.50", "3.50"],
    }
    del columns[missing]
    text, spec = checked([table(**columns)])
    required = {
        "transacted_at": spec.transaction["transacted_at"],
        **{name: spec.items[name] for name in ("name", "quantity", "price_current", "price_sell")},
    }
    left = {name for name, value in required.items() if isinstance(value, OpenValue)}
    fields = {"date": {"transacted_at"}, "product_name": {"name"}, "quantity": {"quantity"}}
    assert left == fields[missing]
    assert "constant: 0" not in text


def test_lines_without_amounts_are_left_out() -> None:
    columns = {
        "receipt_no": ["1", "1", "2"],
        "date": ["2024-01-02", "2024-01-02", "2024-01-03"],
        "product_name": ["Tea", "Cup", "Tea"],
        "quantity": ["1", "2", "1"],
        "total": ["21.50", "21.50", "3.50"],
    }
    text, spec = checked([table(**columns)])
    assert not spec.items
    assert "# unsure: lines have no amounts, so they are left out" in text


def test_line_totals_give_unit_prices_and_the_total() -> None:
    rows = {
        "order_id": ["1", "1"],
        "date": ["2025-01-01"] * 2,
        "qty": ["2", "1"],
        "line_total": ["9.00", "3.00"],
    }

    text, _ = checked([table(**rows)])

    assert "total: {sum: line_total}" in text
    assert "price_sell: {column: line_total, then: [{divide_by: qty}, {round: 4}]}" in text


def test_a_status_word_that_is_not_known_is_marked() -> None:
    _, spec = checked([table(receipt=["1", "2", "3"], total=["1"] * 3, status=["Paid", "Parked", "Zork"])])

    assert spec.completion is not None
    assert spec.completion.complete == ("Paid", "Zork")
    assert spec.completion.draft == ("Parked",)
    assert isinstance(spec.completion.status, OpenValue)
    assert "what do Zork (1) mean?" in spec.completion.status.open


def test_rows_that_repeat_without_a_line_number_are_kept_and_marked() -> None:
    rows = {"receipt": ["1", "1"], "date": ["2025-01-01"] * 2, "sku": ["a", "a"], "qty": ["1", "1"]}

    text, spec = checked([table(**rows, price=["2", "2"])])

    assert spec.source.duplicates == "keep"
    assert "# unsure: equal rows may be real" in text


def test_samples_without_rows_or_without_a_shared_column_are_refused() -> None:
    with pytest.raises(SourceError, match="no rows"):
        drafted_from([table(a=[])])
    with pytest.raises(SourceError, match="no column in common"):
        drafted_from([table("a.csv", a=["1"], date=["2025-01-01"]), table("b.csv", sku=["x"], qty=["1"])])


def test_a_shipped_mapping_can_be_copied() -> None:
    first, rest = shipped_mapping("toast_items").read_text(encoding="utf-8").split("\n", 1)

    assert first.startswith("# yaml-language-server")
    assert copy_of("toast_items") == rest
    with pytest.raises(SettingsError, match="did you mean 'toast_items'"):
        copy_of("toast_itms")


NAMES = st.sampled_from([name for names in ROLES.values() for name in names.names]) | st.text(
    st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8
).filter(lambda name: not name.startswith(("__", "*", "^")))
CELLS = st.sampled_from(
    [
        None,
        "",
        "1",
        "2",
        "2.5",
        "1,5",
        "$3.00",
        "x",
        "2025-01-02",
        "03/04/2025 10:00",
        "a@example.com",
        "PAID",
    ]
)


@examples(30, fuzz=20)
@given(st.data())
def test_whatever_the_columns_the_draft_passes_check(data: st.DataObject) -> None:
    names = data.draw(st.lists(NAMES, min_size=1, max_size=8, unique=True))
    rows = data.draw(
        st.lists(st.lists(CELLS, min_size=len(names), max_size=len(names)), min_size=1, max_size=5)
    )
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")

    checked([Sample("x.csv", frame)])
