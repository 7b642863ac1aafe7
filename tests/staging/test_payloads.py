import json
from datetime import datetime
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.model import MONEY_PRECISION, MONEY_SCALE, TX
from pipeline.staging.payloads import encode

MONEY = pl.Decimal(MONEY_PRECISION, MONEY_SCALE)
TEXTS = st.one_of(
    st.none(), st.text(max_size=12), st.sampled_from(['"', ',"sku":null', "\\", "}", '{"name":null,'])
)
AMOUNTS = st.decimals(min_value=-(10**10), max_value=10**10, places=4)


def headers(rows: list[dict[str, object]]) -> pl.DataFrame:
    schema = {
        TX: pl.UInt32,
        "external_id": pl.String,
        "transacted_at": pl.Datetime("us"),
        "total": MONEY,
        "staff_id": pl.String,
        "is_void": pl.Boolean,
        "payments": pl.String,
    }
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)


def items(rows: list[dict[str, object]]) -> pl.DataFrame:
    schema = {TX: pl.UInt32, "name": pl.String, "quantity": pl.Int64, "price_sell": MONEY, "sku": pl.String}
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)


def header(tx: int, **values: object) -> dict[str, object]:
    return {
        TX: tx,
        "external_id": f"S1-{tx}",
        "transacted_at": datetime(2024, 5, 1, 3, 4, 5),
        "total": Decimal("12.30"),
        **values,
    }


def test_a_body_holds_every_value_and_no_null() -> None:
    staged = encode(
        headers([header(0, staff_id="S9", is_void=True, payments='["CASH"]')]),
        items([{TX: 0, "name": "Tea", "quantity": 2, "price_sell": Decimal("6.15"), "sku": None}]),
    )
    assert json.loads(staged["body"][0]) == {
        "external_id": "S1-0",
        "total": 12.3,
        "transacted_at": "2024-05-01 03:04:05",
        "staff_id": "S9",
        "is_void": True,
        "payments": ["CASH"],
        "items": [{"name": "Tea", "quantity": 2, "price_sell": 6.15}],
    }
    assert staged.schema["transacted_at"] == pl.Datetime("us", "UTC")


def test_false_and_missing_values_are_left_out() -> None:
    body = encode(headers([header(0, is_void=False)]), items([]))["body"][0]
    assert set(json.loads(body)) == {"external_id", "total", "transacted_at"}


def test_items_stay_with_their_transaction_and_in_order() -> None:
    rows = [{TX: tx, "name": f"{tx}.{n}", "quantity": n, "price_sell": 1} for n in (1, 2) for tx in (2, 0)]
    staged = encode(headers([header(0), header(1), header(2)]), items(rows))
    names = [[item["name"] for item in json.loads(body).get("items", [])] for body in staged["body"]]
    assert names == [["0.1", "0.2"], [], ["2.1", "2.2"]]


@pytest.mark.slow
@given(st.lists(st.tuples(TEXTS, TEXTS, AMOUNTS), min_size=1, max_size=6))
def test_any_text_and_amount_arrives_as_it_was(cells: list[tuple[str | None, str | None, Decimal]]) -> None:
    rows = [{TX: n, "name": a, "sku": b, "quantity": 1, "price_sell": c} for n, (a, b, c) in enumerate(cells)]
    staged = encode(
        headers([header(n, staff_id=a, total=c) for n, (a, _, c) in enumerate(cells)]), items(rows)
    )
    for body, (a, b, c) in zip(staged["body"], cells, strict=True):
        sent = json.loads(body, parse_float=Decimal)
        assert Decimal(sent["total"]) == c
        assert sent.get("staff_id") == a
        assert (sent["items"][0].get("name"), sent["items"][0].get("sku")) == (a, b)
        assert None not in sent.values()
