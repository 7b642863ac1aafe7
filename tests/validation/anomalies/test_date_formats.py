"""Date formats of one column that contradict each other."""

from __future__ import annotations

from datetime import datetime

import pytest

from pipeline.validation.anomalies.date_formats import contradictions
from pipeline.validation.anomalies.observations import Observations, merge_observations
from tests.validation.anomalies.shop import sale, unit


def written(**days: list[str]) -> Observations:
    """Sales on some days (month-day), under the format by which each was read."""
    sales = [
        sale(n, datetime.fromisoformat(f"2024-{day} 10:00:00"), "S", 1000, None)
        | {"transacted_at|format": form}
        for n, (form, day) in enumerate((form, day) for form, own in days.items() for day in own)
    ]
    return unit(sales)


DMY, MDY, ISO = "%d/%m/%Y", "%m/%d/%Y %H:%M", "iso"


@pytest.mark.parametrize(
    ("days", "sales", "why"),
    [
        ({DMY: ["01-05", "01-20"], MDY: ["01-13"]}, 1, "another order"),
        ({"%-d.%m.%y": ["01-05"], "%b %e, %Y": ["01-13"]}, 1, "another order"),
        ({"%Y-%m-%d": ["01-05"], "%Y-%d-%m": ["01-13"]}, 1, "another order"),
        ({DMY: ["01-13", "02-20", "03-31"], ISO: ["01-05", "12-12"]}, 2, "up to the 12th"),
        ({DMY: ["01-05", "01-20"], ISO: ["02-05", "02-20"]}, 2, "never overlap"),
        ({DMY: ["01-05", "02-20"], ISO: ["02-05", "02-25"]}, 0, ""),
        ({DMY: ["01-05"], ISO: ["02-25"]}, 0, ""),
        ({DMY: ["01-05", "01-20"], "%d/%m/%Y %H:%M": ["01-06", "01-21"]}, 0, ""),
        ({ISO: ["01-05", "01-20"]}, 0, ""),
    ],
)
def test_formats_that_contradict_each_other_are_found(
    days: dict[str, list[str]], sales: int, why: str
) -> None:
    found = [*contradictions(written(**days))]
    assert [each.sales for each in found] == ([sales] if why else [])
    assert all(why in each.evidence for each in found)


def test_units_are_looked_at_together() -> None:
    parts = [written(**{DMY: ["01-05", "01-20"]}), written(**{ISO: ["02-05", "02-20"]})]
    assert not any([*contradictions(part)] for part in parts)
    (found,) = contradictions(merge_observations(parts))
    assert found.evidence == (
        "%d/%m/%Y in 2 sales from 2024-01-05 to 2024-01-20; iso in 2 sales from 2024-02-05 to 2024-02-20: "
        "their days never overlap"
    )


def test_nothing_is_said_where_the_mapping_has_one_format() -> None:
    assert [*contradictions(unit([sale(1, datetime(2024, 1, 1), "S", 100, None)]))] == []
