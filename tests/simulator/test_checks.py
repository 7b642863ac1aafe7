"""What Omneo refuses, and that nothing a client can send makes the simulator stumble."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.simulator.checks import errors_in, parse_json, utc_text
from tests.fuzzing import examples

CURRENCIES = frozenset({"AUD"})
ITEM = {"name": "Socks", "quantity": 2, "price_current": 9.5, "price_sell": 9}
SALE = {"total": 18, "transacted_at": "2024-03-01 10:00:00", "items": [ITEM]}


def errors(**changes):
    body = {name: value for name, value in (SALE | changes).items() if value is not ...}
    return errors_in(body, CURRENCIES)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"items": []},
        {"items": ...},
        {"total": -3.5},
        {"total": 0},
        {"transacted_at": "2024-03-01T10:00:00+11:00"},
        {"transacted_at": "2024-03-01T10:00:00.123Z"},
        {"external_id": 60391123},
        {"location_id": 3, "staff_id": "1993"},
        {"payments": ["EFTPOS"]},
        {"payments": [{"eftpos": 100, "cash": 20}]},
        {"timezone": "Australia/Melbourne", "currency": "AUD"},
        {"meta": {"connote": 123}, "tags": ["a"], "systems": []},
        {"profile_id": None, "currency": None, "items": None, "receipt_email": None},
        {"never_heard_of": object},
    ],
)
def test_what_passes(changes):
    assert errors(**changes) == {}


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"total": ...}, "total"),
        ({"total": None}, "total"),
        ({"total": "18.00"}, "total"),
        ({"total": True}, "total"),
        ({"total": 1e300}, "total"),
        ({"transacted_at": ...}, "transacted_at"),
        ({"transacted_at": ""}, "transacted_at"),
        ({"transacted_at": "01/03/2024"}, "transacted_at"),
        ({"transacted_at": "2024-02-30 10:00:00"}, "transacted_at"),
        ({"transacted_at": "2024-W09-5"}, "transacted_at"),
        ({"transacted_at": 1709287200}, "transacted_at"),
        ({"is_void": None}, "is_void"),
        ({"is_void": "false"}, "is_void"),
        ({"receipt_is_email": None}, "receipt_is_email"),
        ({"external_id": 1.5}, "external_id"),
        ({"external_id": ["x"]}, "external_id"),
        ({"timezone": "Melbourne"}, "timezone"),
        ({"timezone": "../etc/passwd"}, "timezone"),
        ({"currency": "XXX"}, "currency"),
        ({"redemption_id": "12"}, "redemption_id"),
        ({"tags": "vip"}, "tags"),
        ({"tags": [1]}, "tags"),
        ({"payments": {"cash": 1}}, "payments"),
        ({"meta": []}, "meta"),
        ({"items": {"0": ITEM}}, "items"),
        ({"items": ["Socks"]}, "items.0"),
        ({"items": [ITEM, ITEM | {"quantity": 1.0}]}, "items.1.quantity"),
        ({"items": [ITEM | {"quantity": None}]}, "items.0.quantity"),
        ({"items": [{**ITEM, "name": ""}]}, "items.0.name"),
        ({"items": [ITEM | {"price_sell": "9.00"}]}, "items.0.price_sell"),
        ({"items": [{k: v for k, v in ITEM.items() if k != "price_current"}]}, "items.0.price_current"),
        ({"items": [ITEM | {"is_void": None}]}, "items.0.is_void"),
        ({"items": [ITEM | {"discounts": [5]}]}, "items.0.discounts"),
    ],
)
def test_what_is_refused_and_where(changes, path):
    assert list(errors(**changes)) == [path]


def test_every_violation_is_reported():
    assert set(errors(total="x", is_void=None, items=[{"quantity": 1}])) == {
        *("total", "is_void", "items.0.name", "items.0.price_current", "items.0.price_sell"),
    }


@pytest.mark.parametrize("body", [None, [], "x", 1])
def test_a_body_that_is_no_object_is_refused(body):
    assert list(errors_in(body, CURRENCIES)) == ["body"]


def test_an_update_may_leave_required_fields_out_but_not_spoil_them():
    assert errors_in({"is_void": True}, CURRENCIES, partial=True) == {}
    assert list(errors_in({"total": "x"}, CURRENCIES, partial=True)) == ["total"]


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"{", b'{"total": NaN}', b'{"total": -Infinity}', b'{"total": 1e999}', b'{"a": "\xff"}'),
        *(b'{"a": "\\ud800"}', b"[" * 100_000),
    ],
)
def test_what_is_no_json(text):
    with pytest.raises(ValueError):
        parse_json(text)


@pytest.mark.slow
@examples(40)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text()
        | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_json_that_passes_means_the_same_as_in_python(value):
    try:
        text = json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    assert parse_json(text) == json.loads(text)


_names = st.sampled_from(["total", "transacted_at", "items", "external_id", "is_void", "meta", "timezone"])
_values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just([{}])


@given(st.dictionaries(_names, _values | st.lists(st.dictionaries(_names, _values), max_size=2)))
def test_no_object_makes_the_checks_stumble(body):
    assert all(isinstance(texts, list) for texts in errors_in(body, CURRENCIES).values())


@pytest.mark.parametrize(
    ("given_text", "utc"),
    [
        ("2024-03-01 10:00:00", "2024-03-01 10:00:00"),
        ("2024-03-01T10:00:00+11:00", "2024-02-29 23:00:00"),
        ("2024-03-01T10:00:00Z", "2024-03-01 10:00:00"),
        ("2024-03-01", "2024-03-01 00:00:00"),
    ],
)
def test_dates_are_kept_in_utc(given_text, utc):
    assert utc_text(given_text) == utc
