from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.model import LINE, SOURCE, TX
from pipeline.report.aggregates import Facts, merge, nothing
from pipeline.report.partition_facts import measure
from tests.fuzzing import examples
from tests.report.made_up_report import headers, items, made_up_facts, outcomes, reasons

TABLES = ("totals", "days", "clock", "fields", "profiles", "codes", "samples", "left_out", "tenders")
NO_REASONS = reasons([])
NO_ITEMS = items([])


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def sale(**values: object) -> dict[str, object]:
    return {
        "external_id": "S1-1",
        "location_id": "S1",
        "currency": "AUD",
        "total": Decimal("10.00"),
        "transacted_at|local": at("2024-07-01 23:30"),
        "profile_id": "a@example.com",
        "profile_id_handle": "email",
    } | values


def measured(rows: list[dict[str, object]], judged: list[str], found: pl.DataFrame = NO_REASONS) -> Facts:
    return merge([measure(headers(rows), NO_ITEMS, outcomes(judged), found)])


def assert_same(one: Facts, other: Facts) -> None:
    for name in TABLES:
        assert getattr(one, name).equals(getattr(other, name)), name
    assert (one.items, one.body_bytes) == (other.items, other.body_bytes)


def test_totals_are_by_local_month_store_currency_and_outcome() -> None:
    facts = measured(
        [
            sale(),
            sale(total=Decimal("0.10")),
            sale(location_id="S2"),
            sale(currency="NZD"),
            sale(total=None, **{"transacted_at|local": None}),
        ],
        ["accepted", "accepted", "accepted", "dropped", "rejected"],
    )
    assert facts.totals.select(pl.exclude("guests", "returns", "returned", "voids", "void_total")).rows() == [
        ("2024-07", "S1", "AUD", "accepted", 2, Decimal("10.1000")),
        ("2024-07", "S1", "NZD", "dropped", 1, Decimal("10.0000")),
        ("2024-07", "S2", "AUD", "accepted", 1, Decimal("10.0000")),
        (None, "S1", "AUD", "rejected", 1, Decimal("0.0000")),
    ]
    assert facts.days.row(0)[:5] == ("2024-07-01", "AUD", "accepted", 3, Decimal("20.1000"))
    assert facts.transactions("accepted") == 3


def test_outcomes_may_come_in_any_order() -> None:
    judged = outcomes(["accepted", "rejected"])
    facts = measure(headers([sale(), sale(total=Decimal(99))]), NO_ITEMS, judged.reverse(), NO_REASONS)
    assert facts.sums("accepted") == {"AUD": Decimal(10)}
    assert facts.sums("rejected") == {"AUD": Decimal(99)}


def test_sums_are_exact_where_floats_are_not() -> None:
    facts = measured([sale(total=Decimal("0.10"))] * 3 + [sale(total=Decimal("1e10"))], ["accepted"] * 4)
    assert facts.sums("accepted") == {"AUD": Decimal("10000000000.30")}


def test_sums_keep_transactions_without_a_currency_apart() -> None:
    facts = measured([sale(), sale(currency=None)], ["accepted", "accepted"])
    assert facts.sums("accepted") == {"AUD": Decimal(10), None: Decimal(10)}


def test_the_clock_is_local_and_counts_what_would_be_sent() -> None:
    facts = measured([sale(), sale(), sale()], ["accepted", "accepted", "rejected"])
    assert facts.clock.rows() == [(1, 23, 2)], "1 July 2024 was a Monday"


def test_completeness_is_of_accepted_transactions_and_their_items() -> None:
    lines = items([{TX: 0, "name": "Shirt", "sku": "LS"}, {TX: 0, "name": "Belt"}, {TX: 1, "sku": "LS"}])
    facts = measure(
        headers([sale(), sale(), sale(profile_id=None)]),
        lines,
        outcomes(["accepted", "rejected", "accepted"]),
        NO_REASONS,
    )
    by_field = {(row[0], row[1]): row[2:] for row in facts.fields.iter_rows()}
    assert by_field["transaction", "profile_id"] == (True, 1, 2)
    assert by_field["transaction", "staff_id"] == (False, 0, 2)
    assert by_field["item", "sku"] == (True, 1, 2)
    assert by_field["item", "name"] == (True, 2, 2)
    assert facts.items == 2


def test_without_customers_in_the_mapping_every_sale_is_a_guests() -> None:
    rows = headers([sale(), sale(), sale()]).drop("profile_id", "profile_id_handle")
    judged = outcomes(["accepted", "accepted", "rejected"])
    assert measure(rows, NO_ITEMS, judged, NO_REASONS).profiles.rows() == [(None, True, 2)]
    nobody = outcomes(["rejected", "rejected", "rejected"])
    assert measure(rows, NO_ITEMS, nobody, NO_REASONS).profiles.is_empty()


def test_profiles_by_handle_and_guests() -> None:
    facts = measured(
        [
            sale(),
            sale(profile_id_handle=None),
            sale(profile_id=None, profile_id_handle=None),
            sale(profile_id=None, profile_id_handle="email"),
        ],
        ["accepted"] * 4,
    )
    assert set(facts.profiles.rows()) == {("email", False, 1), (None, False, 1), (None, True, 2)}


def test_a_transaction_counts_once_a_code_and_loose_rows_count_for_themselves() -> None:
    wrong = {"code": "price_invalid", "outcome": "rejected"}
    found = reasons(
        [
            wrong | {TX: 0, "field": "price_sell", LINE: 2},
            wrong | {TX: 0, "field": "price_sell", LINE: 3},
            wrong | {TX: 0, "field": "price_current", LINE: 3},
            wrong | {TX: 1, "field": "price_sell", LINE: 5},
            {"code": "malformed_row", "outcome": "rejected", LINE: 7},
            {"code": "malformed_row", "outcome": "rejected", LINE: 9},
        ]
    )
    facts = measured([sale(), sale()], ["rejected", "rejected"], found)
    assert facts.by_code("rejected") == {"malformed_row": 2, "price_invalid": 2}


def test_samples_are_one_of_each_kind_with_the_staged_body() -> None:
    facts = measured(
        [
            sale(external_id="1"),
            sale(external_id="2"),
            sale(external_id="3", profile_id=None),
            sale(external_id="4", total=Decimal(-1)),
            sale(external_id="5", is_void=True),
            sale(external_id="6", is_void=True),
        ],
        ["rejected"] + ["accepted"] * 5,
    )
    staged = pl.DataFrame({"external_id": ["2", "3", "4", "5", "6"], "body": ["{}", "é", "c", "d", "e"]})
    facts = facts.with_bodies(staged)
    facts = facts.with_rows(pl.DataFrame({"external_id": ["3", "5"], "rows": ["{}", "[]"]}))
    assert facts.samples.rows() == [
        ("sale", "2", "{}", "2024-07-01 23:30", None),
        ("guest", "3", "é", "2024-07-01 23:30", "{}"),
        ("return", "4", "c", "2024-07-01 23:30", None),
        ("void", "5", "d", "2024-07-01 23:30", "[]"),
    ]
    assert facts.body_bytes == 2 + 2 + 3


def test_a_mapping_without_optional_columns_is_measured() -> None:
    bare = headers([sale()]).select(TX, SOURCE, LINE, "external_id", "total")
    facts = measure(bare, NO_ITEMS, outcomes(["accepted"]), NO_REASONS)
    assert facts.totals.rows() == [
        (None, None, None, "accepted", 1, Decimal(10), 1, 0, Decimal(0), 0, Decimal(0))
    ]
    assert facts.clock.is_empty()
    assert facts.profiles.rows() == [(None, True, 1)]


def test_years_beyond_pythons_are_counted_like_all_others() -> None:
    """Epoch seconds taken for milliseconds, or the reverse, make such dates."""
    far = headers([sale(), sale()]).with_columns(
        pl.Series("transacted_at|local", [1_640_000_000_000_000_000, -70_000_000_000_000_000]).cast(
            pl.Datetime("us")
        )
    )
    facts = merge([measure(far, NO_ITEMS, outcomes(["rejected", "accepted"]), NO_REASONS)])
    assert sorted(facts.totals["month"]) == ["+53939-07", "-0249-10"]
    assert sorted(facts.days["day"]) == ["+53939-07-14", "-0249-10-15"]
    assert_same(Facts.from_json(facts.to_json()), facts)


def test_guests_and_returns_are_counted_beside_the_totals() -> None:
    refund = sale(total=Decimal(-4), profile_id=None)
    rows = [sale(), refund, refund | {"is_void": True}, sale(profile_id=None), refund]
    facts = measured(rows, ["accepted"] * 4 + ["rejected"])
    columns = ("outcome", "transactions", "total", "guests", "returns", "returned", "voids", "void_total")
    assert facts.totals.select(columns).rows() == [
        ("accepted", 4, Decimal(12), 3, 1, Decimal(-4), 1, Decimal(-4)),
        ("rejected", 1, Decimal(-4), 1, 1, Decimal(-4), 0, Decimal(0)),
    ]


def test_facts_of_older_versions_lack_what_was_not_counted() -> None:
    kept = json.loads(made_up_facts(50).to_json())
    for table in ("periods", "hours", "gaps", "unjudged", "customers", "people"):
        del kept[table]
    for table in ("totals", "days"):
        for column in ("guests", "returns", "returned", "voids", "void_total"):
            del kept[table][column]
    for column in ("local", "rows"):
        del kept["samples"][column]
    facts = Facts.from_json(json.dumps(kept))
    assert facts.sums("accepted") == made_up_facts(50).sums("accepted")
    assert facts.totals["returns"].null_count() == facts.totals.height > 0
    assert facts.samples["rows"].null_count() == facts.samples.height > 0
    assert facts.periods.is_empty()
    assert facts.people == 0


def test_facts_survive_json() -> None:
    facts = made_up_facts(200)
    assert_same(Facts.from_json(facts.to_json()), facts)
    assert_same(Facts.from_json(nothing().to_json()), nothing())


ROWS = st.lists(
    st.tuples(
        st.builds(
            sale,
            external_id=st.text("abc", max_size=3),
            location_id=st.sampled_from(["S1", "S2", None]),
            currency=st.sampled_from(["AUD", "NZD", None]),
            total=st.none() | st.decimals(-10_000, 10_000, places=2),
            profile_id=st.sampled_from(["a@example.com", None]),
        ),
        st.sampled_from(["accepted", "dropped", "rejected"]),
    ),
    max_size=12,
)


@pytest.mark.slow
@examples(40)
@given(ROWS, st.integers(0, 12))
def test_buckets_add_up_however_the_transactions_are_split(
    rows: list[tuple[dict[str, object], str]], cut: int
) -> None:
    def of(part: list[tuple[dict[str, object], str]]) -> Facts:
        return measured([row for row, _ in part], [outcome for _, outcome in part])

    whole = of(rows)
    assert_same(merge([of(rows[:cut]), of(rows[cut:])]), merge([whole]))
    assert sum(whole.transactions(name) for name in ("accepted", "dropped", "rejected")) == len(rows)


def test_lines_left_out_and_payments_of_accepted_sales_are_added_up() -> None:
    rows = headers([sale(), sale(currency="NZD"), sale(), sale()]).with_columns(
        pl.Series("set_apart_total", [Decimal("50"), Decimal("2.5"), None, Decimal("9")], pl.Decimal(38, 4)),
        payments=pl.Series(
            ['[{"Card":56.5},{"Gift \\"card\\"":4}]', '["Cash","A: 1"]', '[{"Card":-3}]', '["Cash"]']
        ),
    )
    judged = outcomes(["accepted", "accepted", "accepted", "rejected"])
    facts = merge([measure(rows, NO_ITEMS, judged, NO_REASONS)])
    assert facts.left_out.rows() == [("AUD", 1, Decimal("50")), ("NZD", 1, Decimal("2.5"))]
    assert facts.tenders.rows() == [
        ('"A: 1"', "NZD", 1, Decimal(0)),
        ('"Card"', "AUD", 2, Decimal("53.5")),
        ('"Cash"', "NZD", 1, Decimal(0)),
        ('"Gift \\"card\\""', "AUD", 1, Decimal(4)),
    ]
    assert Facts.from_json(facts.to_json()).tenders.equals(facts.tenders)
