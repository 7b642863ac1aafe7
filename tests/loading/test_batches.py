from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.loading.batches import batch_id_of, results_of
from pipeline.loading.client import Answered, Unknown
from pipeline.loading.retry import Meaning


def reply(said: Any) -> Answered:
    return Answered(200, json.dumps(said).encode())


def test_the_id_is_found_with_and_without_an_envelope() -> None:
    assert batch_id_of(reply({"message": "ok", "batch_id": "b-1"})) == "b-1"
    assert batch_id_of(reply({"data": {"batch_id": "b-2"}})) == "b-2"


@pytest.mark.parametrize(
    "odd", [reply({}), reply([]), reply({"data": [1]}), Answered(200, b"<html>"), Unknown("x")]
)
def test_an_odd_answer_has_no_id_and_no_result(odd: Any) -> None:
    assert batch_id_of(odd) is None
    assert not results_of(odd).over


@pytest.mark.parametrize("state", ["pending", "processing", "", None])
def test_a_batch_at_work_is_not_over(state: str | None) -> None:
    result = results_of(reply({"data": {"status": state, "total_count": 2, "processed_count": 1}}))
    assert not result.over
    assert result.verdict("a").again


def test_results_are_by_transaction() -> None:
    items = [
        {"external_id": "a", "entity_id": 1, "status": "success", "error": None},
        {"external_id": "b", "entity_id": None, "status": "failed", "error": "The total is odd."},
        {"external_id": "c", "status": "failed", "error": {"message": "No.", "errors": {"total": ["Bad."]}}},
        {"external_id": "d", "status": "pending", "error": None},
    ]
    result = results_of(
        reply(
            {
                "data": {
                    "status": "failed",
                    "total_count": 4,
                    "processed_count": 4,
                    "failed_count": 2,
                    "items": items,
                }
            }
        )
    )
    assert result.over
    assert result.verdict("a").meaning is Meaning.TAKEN
    assert result.verdict("b").meaning is Meaning.REFUSED
    assert result.verdict("b").message == "The total is odd."
    assert result.verdict("c").fields == {"total": ("Bad.",)}
    assert result.verdict("unheard of").again


def test_a_batch_that_names_only_its_failures_took_the_rest() -> None:
    items = [{"external_id": "b", "status": "failed", "error": "No."}]
    result = results_of(reply({"status": "completed", "failed_count": 1, "items": items}))
    assert result.verdict("a").meaning is Meaning.TAKEN
    assert result.verdict("b").meaning is Meaning.REFUSED


def test_one_still_pending_is_neither_taken_nor_refused() -> None:
    items = [
        {"external_id": "a", "status": "success", "error": None},
        {"external_id": "b", "status": "pending", "error": None},
    ]
    said = {"status": "pending", "total_count": 2, "processed_count": 1, "failed_count": 0, "items": items}
    result = results_of(reply({"data": said}))
    assert result.verdict("a").meaning is Meaning.TAKEN
    assert result.verdict("b").again
