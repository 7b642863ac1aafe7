from __future__ import annotations

import random
from datetime import date, datetime, timedelta
from math import exp
from typing import Any

import pytest

from pipeline.validation.anomalies.missing_days import MissingDays, missing_days
from tests.validation.anomalies.shop import Sale, sale, unit

MONDAY = date(2024, 4, 1)


def sold(rng: random.Random, mean: float) -> int:
    """A draw from a Poisson distribution."""
    number, left = 0, rng.random()
    chance = below = exp(-mean)
    while left > below:
        number += 1
        chance *= mean / number
        below += chance
    return number


def sales_of(counts: dict[tuple[str, int], int]) -> list[Sale]:
    """So many sales of a store on a day; the days are counted from a Monday."""
    return [
        sale(0, datetime(2024, 4, 1, 12) + timedelta(days=day, seconds=n), store, 2_000 + n, None)
        for (store, day), number in counts.items()
        for n in range(number)
    ]


def shops(means: dict[str, float], days: int = 84, seed: int = 1, **gone: set[int]) -> list[Sale]:
    """Shops that are open on six days a week; `gone` are the days that are lost of a shop."""
    rng = random.Random(seed)
    counts = {
        (store, day): sold(rng, mean) for store, mean in means.items() for day in range(days) if day % 7 != 6
    }
    return sales_of({key: number for key, number in counts.items() if key[1] not in gone.get(key[0], ())})


def found(*args: Any, **kwargs: Any) -> MissingDays:
    return missing_days(unit(shops(*args, **kwargs)))


LARGER = {"big": 22, "middle": 12, "small": 6.5}
CHAIN = LARGER | {"tiny": 2.5}


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_missing_where_nothing_was_lost(seed: int) -> None:
    assert found(CHAIN, seed=seed).gaps.filter("sure").is_empty()


def test_a_lost_day_is_missing_or_perhaps_with_its_odds() -> None:
    gaps = found(LARGER, big={23}, middle={30}, small={44}).gaps
    rows = {row["store"]: row for row in gaps.to_dicts()}
    assert {store: row["first"] for store, row in rows.items()} == {
        "big": MONDAY + timedelta(days=23),
        "middle": MONDAY + timedelta(days=30),
        "small": MONDAY + timedelta(days=44),
    }
    assert rows["big"]["sure"]
    assert rows["middle"]["sure"]
    assert not rows["small"]["sure"], "in 300 days of stores that could be chance"
    assert 100 < rows["small"]["odds"] < 5_000
    assert rows["big"]["odds"] > rows["middle"]["odds"] > rows["small"]["odds"]


def test_a_lost_week_is_found_in_a_store_of_which_a_lost_day_says_nothing() -> None:
    (gap,) = found(CHAIN, tiny={*range(35, 45)}).gaps.to_dicts()
    assert (gap["store"], gap["first"], gap["last"]) == (
        "tiny",
        MONDAY + timedelta(days=35),
        MONDAY + timedelta(days=44),
    )
    assert gap["days"] == 9, "Sundays are not counted"


def test_what_cannot_be_judged_is_named() -> None:
    assert found(CHAIN).unjudged["store"].to_list() == ["tiny"]
    assert set(found(CHAIN, days=13).unjudged["store"]) == {*CHAIN}, "two weeks say nothing"
    assert found(LARGER, days=20).unjudged.is_empty(), "three weeks are enough"


def test_a_store_that_opens_when_it_likes_is_not_taken_for_a_regular_one() -> None:
    rng = random.Random(3)
    closed = {day for day in range(84) if rng.random() < 0.3}
    assert found({"regular": 20, "moody": 8}, moody=closed).gaps.is_empty()


def test_a_day_that_is_lost_everywhere_is_not_repeated_for_each_store() -> None:
    (gap,) = found(LARGER, **{store: {37} for store in LARGER}).gaps.to_dicts()
    assert (gap["store"], gap["days"], gap["sure"]) == ("", 1, True)


@pytest.mark.parametrize("days", [149, 150])
def test_a_day_is_missed_however_often_chance_empties_another_store(days: int) -> None:
    """Of 149 days on which five sales are usual, chance empties one; of 148, not quite. One is a holiday."""
    counts = {(store, day): sales for store, sales in (("big", 20), ("small", 5)) for day in range(days)}
    del counts["big", 60]
    assert missing_days(unit(sales_of(counts))).gaps["store"].to_list() == ["big"]
