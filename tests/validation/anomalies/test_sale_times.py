from __future__ import annotations

from datetime import date

import pytest

from pipeline.validation.anomalies.sale_times import _easter


@pytest.mark.parametrize(
    "sunday",
    [
        *(date(1818, 3, 22), date(1943, 4, 25), date(2008, 3, 23), date(2011, 4, 24), date(2038, 4, 25)),
        # Where the tables of the church move Easter to a week earlier than the moon has it.
        *(date(1609, 4, 19), date(1954, 4, 18), date(1981, 4, 19), date(2049, 4, 18), date(2076, 4, 19)),
        *(date(1900, 4, 15), date(2000, 4, 23), date(2024, 3, 31), date(2285, 3, 22)),
    ],
    ids=str,
)
def test_easter(sunday: date) -> None:
    assert _easter(sunday.year) == sunday
