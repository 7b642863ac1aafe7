from __future__ import annotations

import pytest

from pipeline.core.events import Progress, StageStarted
from pipeline.telemetry.pace import Pace

LIMIT = "Omneo's limit of 1,000 a minute"


def load_of(total: int | None, done: int = 0) -> Pace:
    return Pace(StageStarted("load", "transactions", total, done), at=0.0)


def test_what_was_done_before_a_resume_is_no_part_of_the_rate() -> None:
    pace = load_of(12_000, done=9_000)
    for second in range(1, 6):
        pace.see(Progress("load", 9_000 + 16 * second, sent=16 * second), second)
    assert pace.per_s == pytest.approx(16)
    assert pace.left_s == pytest.approx((12_000 - 9_080) / 16)


def test_what_is_known_already_is_no_part_of_the_rate_unless_there_is_nothing_else() -> None:
    pace = load_of(200_000)
    pace.see(Progress("load", 100_000, sent=0), 1)
    assert pace.per_s == 100_000
    for second in range(2, 12):
        pace.see(Progress("load", 100_000 + 20 * (second - 1), sent=20 * (second - 1)), second)
    assert pace.per_s == pytest.approx(20, rel=0.1)


def test_the_time_for_connecting_is_left_out_once_there_is_more() -> None:
    pace = load_of(1_000)
    for tenth in range(30, 81):
        pace.see(Progress("load", tenth - 29, sent=tenth - 29), tenth / 10)
    assert pace.per_s == pytest.approx(10)


def test_no_time_before_the_first_transaction_counts_however_soon_it_is_looked_at() -> None:
    pace = load_of(1_000, done=500)
    for second in range(1, 9):
        pace.see(Progress("load", 500, sent=0), second)
        assert pace.per_s is None
    for second in range(9, 15):
        done = 10 * (second - 8)
        pace.see(Progress("load", 500 + done, sent=done), second)
        assert pace.per_s == pytest.approx(10)


def test_the_rate_is_that_of_the_last_minute() -> None:
    pace = load_of(100_000)
    done = 0
    for second in range(1, 300):
        done += 100 if second < 200 else 10
        pace.see(Progress("load", done, sent=done), second)
    assert pace.per_s == pytest.approx(10, rel=0.01)


def test_a_burst_does_not_last_where_a_limit_is_known() -> None:
    pace = load_of(10_000)
    pace.see(Progress("load", 1_000, sent=1_000, limit=LIMIT, most_per_s=16.5), 2)
    assert pace.per_s == 500
    assert pace.left_s == pytest.approx(9_000 / 16.5)


def test_a_resume_that_begins_with_look_ups_soon_says_how_fast_it_is() -> None:
    pace = load_of(2_500, done=950)
    for second in range(1, 40):
        sent = 0 if second < 12 else 16.4 * (second - 12)
        pace.see(Progress("load", int(950 + sent), sent=int(sent), limit=LIMIT, most_per_s=16.4), second)
        if sent:
            assert pace.left_s == pytest.approx((2_500 - 950 - sent) / 16.4, rel=0.1)
        if second > 24:
            assert pace.per_s == pytest.approx(16.4, rel=0.1)


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (None, f"1,600 of 12,000 transactions, 3 in doubt, 16/s, 10 min 50 s left, {LIMIT}"),
        (85, f"1,600 of 12,000, 3 in doubt, 16/s, 10 min 50 s left, {LIMIT}"),
        (75, "1,600 of 12,000 transactions, 3 in doubt, 16/s, 10 min 50 s left"),
        (60, "1,600 of 12,000, 3 in doubt, 16/s, 10 min 50 s left"),
        (40, "1,600 of 12,000, 16/s, 10 min 50 s left"),
        (35, "1,600 of 12,000, 10 min 50 s left"),
        (5, "1,600 of 12,000"),
    ],
)
def test_a_narrow_line_leaves_out_what_matters_least(width: int | None, line: str) -> None:
    pace = load_of(12_000)
    pace.see(Progress("load", 1_600, sent=1_600, in_doubt=3, limit=LIMIT, most_per_s=16), 100)
    assert pace.line(width) == line


def test_a_stage_that_has_just_begun_has_no_rate() -> None:
    assert load_of(None).line() == "0 transactions"
    assert load_of(10).left_s is None
