from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import fields
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from pipeline.core.findings import ANOMALY_KINDS, Anomaly
from pipeline.core.model import SOURCE, TX
from pipeline.validation.anomalies.detection import find_anomalies
from pipeline.validation.anomalies.evidence import MOST_EVIDENCE
from pipeline.validation.anomalies.observations import Observations, merge_observations, observe
from tests.validation.anomalies.shop import MONDAY, SOURCES, Sale, evenly_random, ordinary, unit
from tests.validation.frames import headers, items

AT = "transacted_at|local"


def found(*units: Observations) -> list[Anomaly]:
    return find_anomalies(merge_observations(units), SOURCES)


def only(*units: Observations) -> Anomaly:
    (finding,) = found(*units)
    return finding


# ── No false alarms ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 1, 50, 500, 5000, 40_000])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_evenly_random_sales_give_no_finding(count: int, seed: int) -> None:
    assert found(unit(evenly_random(count, seed))) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "shop",
    [
        {"a_day": 40},
        {"a_day": 3},
        {"a_day": 200, "days": 20},
        {"closed_on": (0, 5, 6)},
        {"opens": 6, "closes": 23},
        {"opens": 17, "closes": 23},
        {"stores": ["Carlton"]},
        {"stores": [f"ST{n:04}" for n in range(60)], "a_day": 300},
    ],
    ids=lambda shop: ",".join(shop),
)
def test_ordinary_shops_give_no_finding(shop: dict[str, int], seed: int) -> None:
    assert found(unit(ordinary(seed, **shop))) == []  # type: ignore[arg-type]


def test_one_busy_day_does_not_make_other_days_odd() -> None:
    sales = evenly_random(4000, 1)
    busy = [
        {**each, "transacted_at|local": datetime(2022, 10, 2, 2, 30, n % 60)}
        for n, each in enumerate(sales[:300])
    ]
    assert found(unit(busy + sales[300:])) == []


def test_what_the_mapping_does_not_give_is_not_looked_at() -> None:
    bare = {"transacted_at|local": None, "location_id": None, "currency": None, "profile_id": None}
    assert found(unit([{**each, **bare} for each in ordinary()])) == []


# ── Planted faults ───────────────────────────────────────────────────────────────────────────────────


def shifted(sales: list[Sale], hours: float) -> list[Sale]:
    at = "transacted_at|local"
    return [{**each, at: each[at] + timedelta(hours=hours)} for each in sales]


@pytest.mark.slow
@pytest.mark.parametrize("hours", [-14, -12, -10, -8, 8, 10, 11, 12])
def test_a_wrong_zone(hours: int) -> None:
    finding = only(unit(shifted(ordinary(), hours)))
    assert finding.code == "sales_at_night"
    assert finding.evidence[0].startswith("hardly any sales from ")
    assert len(finding.evidence) == 4, "and the three busiest hours of the night"


def test_a_wrong_zone_of_one_store() -> None:
    right = ordinary(1, stores=["Carlton", "Fitzroy"])
    finding = only(unit(right), unit(shifted(ordinary(2, stores=["Perth"], a_day=10), -10)))
    assert finding.code == "sales_at_night"
    assert len(finding.evidence) == 1
    assert finding.evidence[0].startswith("Perth: ")
    assert "the middle of its day is about " in finding.evidence[0]
    assert ":00, elsewhere about " in finding.evidence[0]


def test_dates_without_a_time() -> None:
    at = "transacted_at|local"
    dates = [{**each, at: datetime.combine(each[at].date(), datetime.min.time())} for each in ordinary()]
    finding = only(unit(dates))
    assert finding.code == "dates_at_midnight"
    assert finding.evidence == ("2,400 sales (100%) at 00:00:00",)
    assert only(unit(ordinary()), unit(dates[:200])).code == "dates_at_midnight"


def test_a_missing_day() -> None:
    gone = MONDAY + timedelta(days=30)
    finding = only(unit([each for each in ordinary() if each["transacted_at|local"].date() != gone]))
    assert finding.code == "days_without_sales"
    assert finding.evidence == ("Wednesday 2024-05-01: no sales; about 40 are usual",)


def test_a_missing_day_of_one_store() -> None:
    gone = (MONDAY + timedelta(days=30), "Carlton")
    sales = ordinary(a_day=100, stores=["Carlton", "Fitzroy"])
    finding = only(
        unit([each for each in sales if (each["transacted_at|local"].date(), each["location_id"]) != gone])
    )
    assert finding.code == "days_without_sales"
    assert finding.evidence[0].startswith("Carlton, Wednesday 2024-05-01: no sales")


def test_closing_for_the_holidays_is_no_finding() -> None:
    sales = shifted(ordinary(), 24 * (date(2024, 11, 18) - MONDAY).days)
    closed = {date(2024, 12, 25), date(2025, 1, 1)}
    assert found(unit([each for each in sales if each["transacted_at|local"].date() not in closed])) == []


def test_holidays_are_no_finding() -> None:
    easter = (date(2024, 3, 29), date(2024, 3, 31), date(2024, 4, 1))
    sales = ordinary(days=70, closed_on=())
    moved = [{**each, AT: each[AT] - timedelta(days=28)} for each in sales]
    assert found(unit([each for each in moved if each[AT].date() not in easter])) == []


@pytest.mark.slow
def test_days_on_which_a_place_is_closed_every_year_are_no_finding() -> None:
    sales = ordinary(days=500, closed_on=())
    anzac = [each for each in sales if (each[AT].month, each[AT].day) != (4, 25)]
    assert found(unit(anzac)) == []
    once = [each for each in sales if each[AT].date() != date(2024, 4, 25)]
    assert only(unit(once)).evidence == ("Thursday 2024-04-25: no sales; about 40 are usual",)


def test_days_without_sales_in_a_row_are_one_line() -> None:
    closed = [MONDAY + timedelta(days=n) for n in range(28, 38)]
    sales = [each for each in ordinary() if each[AT].date() not in closed]
    assert only(unit(sales)).evidence == (
        "2024-04-29 to 2024-05-08: no sales on 9 days on which about 40 are usual",
    )


def test_what_is_billed_on_the_first_of_each_month_has_no_swapped_dates() -> None:
    sales = [{**each, AT: each[AT].replace(month=1 + n % 12, day=1)} for n, each in enumerate(ordinary())]
    assert "day_month_swapped" not in [finding.code for finding in found(unit(sales))]


def test_day_and_month_that_changed_places() -> None:
    sales = [each for each in ordinary() if each["transacted_at|local"].day <= 12]
    assert "day_month_swapped" in [finding.code for finding in found(unit(sales))]


@pytest.mark.slow
def test_a_file_that_is_there_twice_under_other_ids() -> None:
    sales = ordinary()
    again = [{**each, "external_id": f"X{n}", SOURCE: 1} for n, each in enumerate(sales)]
    finding = only(unit(sales), unit(again))
    assert finding.code == "doubled_file"
    assert finding.evidence == (
        "2,400 of 4,800 sales looked at repeat another one",
        "till-1.csv and till-2.csv: 2,400 in both",
    )
    assert only(unit(sales), unit(again[:300])).code == "doubled_file"
    assert found(unit(sales), unit(again[:15])) == []


def test_files_with_the_same_sales_are_listed_by_how_many_they_share() -> None:
    sales = ordinary()
    copies = [(sales[:400], 1), (sales[400:1400], 2), (sales[1400:1600], 0)]
    again = [
        [{**each, "external_id": f"X{n}", SOURCE: to} for n, each in enumerate(part)] for part, to in copies
    ]
    observed = merge_observations([unit(sales), *map(unit, again)])
    (finding,) = find_anomalies(observed, [*SOURCES, "till-3.csv"])
    assert finding.evidence == (
        "1,600 of 4,000 sales looked at repeat another one",
        "till-1.csv and till-3.csv: 1,000 in both",
        "till-1.csv and till-2.csv: 400 in both",
        "till-1.csv: 200 within it",
    )


@pytest.mark.parametrize(("repeats", "codes"), [(19, []), (20, ["doubled_file"])])
def test_fewer_than_twenty_repeated_sales_say_nothing(repeats: int, codes: list[str]) -> None:
    sales = ordinary(days=6)
    again = [{**each, "external_id": f"X{n}", SOURCE: 1} for n, each in enumerate(sales[:repeats])]
    assert [finding.code for finding in found(unit(sales), unit(again))] == codes


def test_a_file_that_is_there_twice_alike_in_every_cell() -> None:
    finding = only(unit(ordinary(), repeated=2400))
    assert finding.code == "doubled_file"
    assert finding.evidence == ("2,400 of 2,400 transactions",)
    assert found(unit(ordinary(), repeated=60)) == []


def test_sales_in_the_same_minute_are_no_doubled_file() -> None:
    at = "transacted_at|local"
    coffees = [
        {
            **each,
            at: each[at].replace(second=0),
            "total": Decimal("4.50"),
            "items_total": Decimal("4.50"),
            "profile_id": None,
        }
        for each in ordinary(stores=["Carlton"], a_day=150)
    ]
    assert found(unit(coffees)) == []


@pytest.mark.parametrize(("seconds", "codes"), [(0, []), (7, ["doubled_file"])])
def test_where_no_seconds_are_known_more_sales_may_be_alike(seconds: int, codes: list[str]) -> None:
    sales = [{**each, AT: each[AT].replace(second=seconds)} for each in ordinary()]
    again = [{**each, SOURCE: 1} for each in sales[: len(sales) // 10]]
    assert [each.code for each in found(unit([*sales, *again]))] == codes


def kiosk() -> list[Sale]:
    """A busy place: seven prices, no customers' names, and times without seconds."""
    rng = random.Random(5)
    sales = ordinary(days=5, a_day=2000, stores=["Kiosk"], opens=17, closes=22, closed_on=())
    for each in sales:
        price = Decimal(rng.choice((450, 500, 550, 600, 900, 950, 1000))) / 100
        each |= {"total": price, "items_total": price, "profile_id": None, AT: each[AT].replace(second=0)}
    return sales


@pytest.mark.slow
def test_a_busy_place_with_few_prices_is_no_doubled_file() -> None:
    assert found(unit(kiosk())) == []
    (finding,) = found(unit(kiosk()), unit([{**each, SOURCE: 1} for each in kiosk()]))
    assert finding.code == "doubled_file"


def taxed(sales: list[Sale], item_tax: Decimal, change: Callable[[Sale, Decimal], Sale]) -> Observations:
    items = [
        {
            TX: n,
            "quantity": 2,
            "price_sell": each["items_total"] / 2,
            "price_tax": (each["items_total"] * item_tax).quantize(Decimal("0.01")),
        }
        for n, each in enumerate(sales)
    ]
    return unit([{**each, **change(each, items[n]["price_tax"])} for n, each in enumerate(sales)], items)


def test_totals_without_tax() -> None:
    finding = only(taxed(ordinary(), Decimal(1) / 11, lambda each, tax: {"total": each["items_total"] - tax}))
    assert finding.code == "total_without_tax"
    assert finding.evidence == ("2,400 sales (100%): total = items − tax",)


def test_items_without_tax() -> None:
    finding = only(taxed(ordinary(), Decimal(1) / 10, lambda each, tax: {"total": each["items_total"] + tax}))
    assert finding.code == "items_without_tax"


@pytest.mark.parametrize(("sales", "codes"), [(19, []), (20, ["total_without_tax"])])
def test_a_few_sales_that_are_off_by_the_tax_are_no_anomaly(sales: int, codes: list[str]) -> None:
    names = {f"R{n}" for n in range(sales)}

    def few_without(each: Sale, tax: Decimal) -> Sale:
        return {"total": each["items_total"] - tax if each["external_id"] in names else each["items_total"]}

    observed = taxed(ordinary(days=10), Decimal(1) / 11, few_without)
    assert [each.code for each in found(observed)] == codes


def test_a_tax_that_the_source_does_not_tell_shows_in_the_ratio() -> None:
    sales = [
        {**each, "total": (each["items_total"] / Decimal("1.2")).quantize(Decimal("0.01"))}
        for each in ordinary()
    ]
    finding = only(unit(sales))
    assert finding.code == "total_without_tax"
    assert finding.evidence == (
        "2,396 sales (100%): total = 0.833 × items",
        "as with a tax of 20%, or with 17% off all items",
    )


def test_items_that_are_there_twice() -> None:
    finding = only(unit([{**each, "items_total": each["total"] * 2} for each in ordinary()]))
    assert finding.code == "doubled_file"


def test_totals_that_are_off_by_anything_are_the_rules_business() -> None:
    sales = [{**each, "items_total": each["total"] + 10} for each in ordinary()]
    assert found(unit(sales)) == []


def test_sales_without_items_are_not_compared_with_them() -> None:
    without = [{**each, "items_total": Decimal(0), "items_count": 0} for each in ordinary(2, a_day=60)]
    low = taxed(ordinary(), Decimal(1) / 11, lambda each, tax: {"total": each["items_total"] - tax})
    assert only(low, unit(without)).evidence == ("2,400 sales (100%): total = items − tax",)


def test_two_items_may_be_off_by_two_cents() -> None:
    def off_by(cents: str) -> Observations:
        prices = {"total": Decimal(cents) * 10, "items_total": Decimal(cents) * 11}
        return unit([{**each, **prices} for each in ordinary()])

    assert found(off_by("0.02")) == []
    assert only(off_by("0.03")).code == "total_without_tax"


def test_totals_far_outside() -> None:
    sales = ordinary()
    sales[7] = {**sales[7], "total": Decimal("1234567.00"), "items_total": Decimal("1234567.00")}
    finding = only(unit(sales))
    assert finding.code == "totals_out_of_range"
    assert finding.evidence[0].startswith(
        f"{sales[7]['location_id']}: 1,234,567.00 (till-1.csv line 9); 99% of"
    )


@pytest.mark.parametrize("others", [["Carlton", "Fitzroy"], [f"Shop {name}" for name in "ABCDEF"]])
def test_a_store_that_writes_cents(others: list[str]) -> None:
    cents = [
        {**each, "total": each["total"] * 100, "items_total": each["total"] * 100}
        for each in ordinary(2, stores=["Perth"], a_day=10)
    ]
    finding = only(unit(ordinary(stores=others)), unit(cents))
    assert finding.code == "totals_out_of_range"
    assert finding.evidence[0].startswith("Perth: half of the totals are below ")


def test_stores_that_write_cents_are_listed_by_name() -> None:
    names = ["Perth", "Albany", "Kalgoorlie", "Broome", "Esperance"]
    cents = [{**each, "total": each["total"] * 100} for each in ordinary(2, stores=names)]
    usual = ordinary(
        stores=["Carlton", "Fitzroy", "Richmond", "Brunswick", "Geelong", "Ballarat", "Hamilton"]
    )
    evidence = next(each.evidence for each in found(unit([*usual, *cents])) if "range" in each.code)
    assert [line.split(":")[0] for line in evidence] == sorted(names)


@pytest.mark.slow
@pytest.mark.parametrize(
    "typo", ["Carltn", "Carlton1", "Carltom", "Calrton", "CARLTON", "Carlton ", "Car-lton", "arlton"]
)
def test_a_typo_store(typo: str) -> None:
    sales = ordinary()
    where = next(n for n, each in enumerate(sales) if each["location_id"] == "Carlton")
    sales[where]["location_id"] = typo
    finding = only(unit(sales))
    assert finding.code == "location_unusual"
    assert finding.evidence == (f"{typo!r}: 1 sale (till-1.csv line {where + 2}); was 'Carlton' meant?",)


@pytest.mark.slow
@pytest.mark.parametrize("other", ["Carxlon", "Cartxon", "Catlron", "Karltom", "Caltron"])
def test_a_store_whose_name_differs_by_more_than_one_edit_is_no_typo(other: str) -> None:
    sales = ordinary()
    where = next(n for n, each in enumerate(sales) if each["location_id"] == "Carlton")
    sales[where]["location_id"] = other
    assert "meant?" not in only(unit(sales)).evidence[0]


def test_a_typo_that_was_made_several_times() -> None:
    sales = ordinary(a_day=100)
    for each in [each for each in sales if each["location_id"] == "Fitzroy"][:5]:
        each["location_id"] = "Fitroy"
    assert only(unit(sales)).evidence[0].startswith("'Fitroy': 5 sales")


def test_misspelt_stores_are_listed_from_the_fewest_sales() -> None:
    names = {"Brunswik": 5, "Calton": 4, "Fitroy": 3, "Richmod": 2, "St Kild": 2, "St Kildaa": 2}
    misspelt = [{"location_id": name} for name, sales in names.items() for _ in range(sales)]
    sales = ordinary(a_day=100)
    changed = [each | name for each, name in zip(sales, misspelt, strict=False)]
    (finding,) = (
        each for each in found(unit(changed + sales[len(changed) :])) if each.code == "location_unusual"
    )
    assert [line.split("'")[1] for line in finding.evidence] == sorted(
        names, key=lambda name: (names[name], name)
    )


def test_a_store_that_is_seen_once() -> None:
    sales = ordinary()
    sales[3]["location_id"] = "Warehouse"
    finding = only(unit(sales))
    assert (finding.code, finding.evidence) == (
        "location_unusual",
        ("'Warehouse': 1 sale (till-1.csv line 5)",),
    )


def test_a_small_store_with_the_next_number_is_no_typo() -> None:
    sales = ordinary(stores=["ST01", "ST02"])
    for each in sales[:10]:
        each["location_id"] = "ST03"
    assert found(unit(sales)) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("small", "big"),
    [("Store 1", "Store 10"), ("S21", "S12"), ("1", "16"), ("ST0011", "ST0111"), ("1-1", "11")],
)
def test_a_small_store_with_a_number_of_its_own_is_no_typo(small: str, big: str) -> None:
    sales = ordinary(stores=[big, "Office"])
    for each in sales[:10]:
        each["location_id"] = small
    assert found(unit(sales)) == []


@pytest.mark.slow
@pytest.mark.parametrize("other", ["CARLTON", "Carlton ", "car-lton"])
def test_a_store_under_two_spellings_however_many_its_sales(other: str) -> None:
    sales = ordinary(stores=["Carlton", "Fitzroy"])
    of_carlton = [each for each in sales if each["location_id"] == "Carlton"]
    for each in of_carlton[::3]:
        each["location_id"] = other
    (line,) = only(unit(sales)).evidence
    assert line.startswith(f"{other!r}: ")
    assert line.endswith("was 'Carlton' meant?")


def test_a_number_without_its_zeros_is_the_same_store() -> None:
    sales = ordinary(stores=["ST0001", "ST0002"])
    for each in sales[: len(sales) // 3]:
        each["location_id"] = each["location_id"].replace("000", "")
    assert [line.rpartition(";")[2] for line in only(unit(sales)).evidence] == [
        " was 'ST0001' meant?",
        " was 'ST0002' meant?",
    ]


def test_a_currency_mix() -> None:
    sales = ordinary()
    for each in sales[:30]:
        each["currency"] = "NZD"
    finding = only(unit(sales))
    assert finding.code == "currency_mix"
    assert "AUD" in finding.evidence[0]
    assert "NZD" in finding.evidence[0]


def test_stores_with_currencies_of_their_own_are_no_mix() -> None:
    abroad = [{**each, "currency": "NZD"} for each in ordinary(2, stores=["Auckland"])]
    assert found(unit(ordinary()), unit(abroad)) == []


def test_a_house_account() -> None:
    sales = ordinary()
    for each in sales[::10]:
        each["profile_id"] = "till@example.com"
    finding = only(unit(sales))
    assert finding.code == "frequent_customer"
    assert finding.evidence[0].endswith("such as till-1.csv line 2")
    assert "till@example.com" not in str(finding)


def test_a_house_account_of_a_small_export() -> None:
    sales = ordinary()[:240]
    for each in sales[::10]:
        each["profile_id"] = "till@example.com"
    finding = only(unit(sales))
    assert finding.code == "frequent_customer"
    assert "list it under `nulls`" in finding.message


def test_evidence_is_short() -> None:
    sales = ordinary(stores=[f"Shop {n:02}" for n in range(40)])
    for n, each in enumerate(sales[:30]):
        each["location_id"] = "Nowhere " + "x" * n
    finding = only(unit(sales))
    assert len(finding.evidence) == MOST_EVIDENCE + 1
    assert finding.evidence[-1] == "and 20 more"


# ── Adding up ────────────────────────────────────────────────────────────────────────────────────────


def as_rows(observed: Observations) -> dict[str, object]:
    values = {each.name: getattr(observed, each.name) for each in fields(observed)}
    return {
        name: sorted(map(str, value.rows())) if isinstance(value, pl.DataFrame) else value
        for name, value in values.items()
    }


def test_units_add_up_to_the_whole_in_any_order() -> None:
    sales = ordinary()
    whole = as_rows(merge_observations([unit(sales)]))
    parts = [unit(sales[start::3]) for start in range(3)]
    assert {**as_rows(merge_observations(parts)), "profiles": 0} == {**whole, "profiles": 0}
    assert {
        **as_rows(merge_observations([merge_observations(parts[::-1][:2]), parts[0]])),
        "profiles": 0,
    } == {**whole, "profiles": 0}


def test_dropped_and_void_sales_are_not_looked_at() -> None:
    sales = headers({}, {"is_void": True}, {})
    outcomes = pl.DataFrame(
        {TX: [0, 1, 2], "outcome": ["rejected", "accepted", "dropped"]}, schema_overrides={TX: pl.UInt32}
    )
    reasons = pl.DataFrame(schema={"code": pl.String, TX: pl.UInt32, SOURCE: pl.UInt32})
    observed = observe(sales, items({}, {}, {}), outcomes, reasons)
    assert observed.counts.timed == 1
    assert observed.counts.transactions == 3
    assert observed.stores.rows() == [("ST1", 1, 0, 2)]


def test_every_anomaly_is_in_the_docs() -> None:
    root = Path(__file__).parents[3]
    modules = (root / "pipeline" / "validation" / "anomalies").glob("*.py")
    codes = {
        code
        for module in modules
        for code in re.findall(r'\banomaly\(\s*"([a-z_]+)"', module.read_text(encoding="utf-8"))
    }
    page = (root / "docs" / "statistics.md").read_text(encoding="utf-8")
    assert len(codes) == 12
    assert codes == set(ANOMALY_KINDS)
    assert {code for code in codes if f"`{code}`" not in page} == set()
