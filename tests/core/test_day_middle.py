"""The middle of a store's day."""

from __future__ import annotations

from pipeline.core.day_middle import usual_middle


def test_a_day_around_midnight_has_its_middle_at_0_and_not_at_24() -> None:
    evening, night = [130, 32, 291, 68], [68, 291, 32, 130]
    assert usual_middle({"S1": [*night, *[0] * 16, *evening]}) == 0
