from __future__ import annotations

import pytest

from pipeline.loading.delivery.circuit_breaker import CircuitBreaker, is_denial
from pipeline.loading.http.answers import Meaning, ReplyVerdict

NO = ReplyVerdict(Meaning.REFUSED, 422, "Invalid.")


def denied(breaker: CircuitBreaker, times: int) -> bool:
    """Whether it is open after so many refusals."""
    for _ in range(times):
        breaker.denied(NO)
    return breaker.is_open


@pytest.mark.parametrize(
    ("breaker", "first", "in_a_row"),
    [(CircuitBreaker(), 50, 200), (CircuitBreaker.of(3), 3, 3), (CircuitBreaker(2, 4), 2, 4)],
)
def test_it_opens_after_so_many_at_the_start_or_so_many_in_a_row(
    breaker: CircuitBreaker, first: int, in_a_row: int
) -> None:
    assert not denied(breaker, first - 1)
    breaker.accepted()
    assert not denied(breaker, in_a_row - 1)
    breaker.accepted()
    assert not denied(breaker, in_a_row - 1)
    assert denied(breaker, 1)
    assert f"The last {in_a_row} transactions were refused" in breaker.error().message


def test_at_the_start_it_is_undecided_and_opens_sooner() -> None:
    breaker = CircuitBreaker(3, 9)
    assert breaker.is_undecided
    breaker.denied(NO, 2)
    assert not breaker.is_open
    breaker.denied(NO)
    assert breaker.is_open
    assert "The first 3 transactions were refused" in breaker.error().message


def test_what_opened_it_is_told_whatever_comes_later() -> None:
    breaker = CircuitBreaker(1)
    breaker.denied(ReplyVerdict(Meaning.REFUSED, 422, fields={"total": ("Bad.", "Odd."), "name": ("No.",)}))
    breaker.accepted()
    breaker.denied(NO, 300)
    assert breaker.is_open
    assert "The first 1 transaction was refused" in breaker.error().message
    assert "(last: 422 total: Bad., name: No.)" in breaker.error().message


def test_an_answer_without_words_is_told_by_its_status() -> None:
    breaker = CircuitBreaker(1)
    breaker.denied(ReplyVerdict(Meaning.REFUSED, 422))
    assert "(last: 422)" in breaker.error().message


def test_a_long_answer_is_cut() -> None:
    breaker = CircuitBreaker(1)
    breaker.denied(ReplyVerdict(Meaning.UNCLEAR, 200, "e" * 500))
    assert f"(last: 200 {'e' * 296})" in breaker.error().message


def test_off_it_never_opens() -> None:
    breaker = CircuitBreaker.of("off")
    assert not breaker.is_undecided
    assert not denied(breaker, 300)


@pytest.mark.parametrize("meaning", Meaning)
def test_only_a_no_and_an_unknown_answer_count(meaning: Meaning) -> None:
    assert is_denial(ReplyVerdict(meaning)) == (meaning in (Meaning.REFUSED, Meaning.UNCLEAR))
