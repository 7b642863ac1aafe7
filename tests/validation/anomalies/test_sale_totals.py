from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from pipeline.validation.anomalies.sale_totals import far_totals
from tests.validation.anomalies.shop import SOURCES, sale, unit


@pytest.mark.parametrize(
    ("count", "evidence"),
    [(99, []), (100, ["Pop-up: half of the totals are below 5,011.87; elsewhere, below 31.62"])],
)
def test_fewer_than_a_hundred_sales_say_nothing_of_a_store(count: int, evidence: list[str]) -> None:
    noon = datetime(2024, 4, 1, 12)
    usual = [sale(n, noon + timedelta(minutes=n), f"Shop {n % 3}", 3_000, None) for n in range(600)]
    rare = [
        sale(1_000 + n, noon + timedelta(minutes=n), "Pop-up", 900_000 if n % 2 else 500_000, None)
        for n in range(count)
    ]
    found = far_totals(unit([*usual, *rare]), SOURCES)
    assert [line for each in found for line in each.evidence] == evidence
