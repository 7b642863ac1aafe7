from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.loading.http.batches import BatchResult, batch_id_of, results_of
from pipeline.loading.http.client import Answered, Unknown
from pipeline.loading.http.retry_policy import Meaning


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
    assert not results_of(odd, ["a"]).over


SENT = ["a", "b", "c"]


def meanings(status: str | None, items: Any = (), **counts: object) -> list[Meaning]:
    said = {"status": status, "items": list(items), **{f"{name}_count": n for name, n in counts.items()}}
    result = results_of(reply({"data": said}), SENT)
    return [result.verdict(name).meaning for name in SENT]


def item(name: object, status: object, error: object = None) -> dict[str, object]:
    return {"external_id": name, "status": status, "error": error}


T, R, U = Meaning.TAKEN, Meaning.REFUSED, Meaning.UNCLEAR


@pytest.mark.parametrize("state", ["pending", "processing", "queued", "", None])
def test_a_batch_at_work_is_not_over(state: str | None) -> None:
    result = results_of(reply({"data": {"status": state, "total_count": 3, "processed_count": 1}}), SENT)
    assert not result.over
    assert result.processed == 1
    verdict = result.verdict("a")
    assert (verdict.meaning, verdict.status, verdict.in_doubt) == (U, 200, True)


def test_where_omneo_gives_no_result_nothing_is_proven() -> None:
    assert not BatchResult().over
    assert BatchResult().verdict("a").meaning is U


@pytest.mark.parametrize(
    ("said", "over"),
    [
        ({"status": "Completed"}, True),
        ({"status": "expired"}, True),
        ({"status": "odd", "total_count": 3, "processed_count": 3}, True),
        ({"status": "odd", "total_count": 3, "processed_count": 2}, False),
        ({"total_count": 0, "processed_count": 0}, False),
        ({}, False),
    ],
)
def test_a_batch_is_over_by_its_state_or_by_its_counts(said: dict[str, object], over: bool) -> None:
    assert results_of(reply({"data": said}), SENT).over is over


def test_who_is_named_well_is_delivered_and_who_is_named_badly_refused() -> None:
    items = [item("a", "success"), item("b", "failed", "The total is odd."), item("c", "created")]
    assert meanings("failed", items, total=3, processed=3, success=2, failed=1) == [T, R, T]
    assert meanings("cancelled", items) == [T, R, T]
    assert meanings("pending", items, total=3, processed=2) == [T, U, T]  # what is refused may change yet


def test_an_item_that_was_no_success_is_refused_whatever_the_counts_say() -> None:
    items = [
        {"external_id": "a", "entity_id": 1, "success": False},
        item("b", "success"),
        item("c", "success"),
    ]
    assert meanings("completed", items, total=3, processed=3, success=3, failed=0) == [R, T, T]


@pytest.mark.parametrize(
    ("said", "message", "fields"),
    [
        ({"error": {"message": "No.", "errors": {"total": ["Bad."]}}}, "No.", {"total": ("Bad.",)}),
        ({"error": {"errors": {"total": ["Bad."]}}}, "", {"total": ("Bad.",)}),
        ({"status": "success", "error": "No."}, "No.", {}),
        ({"status": "success", "errors": {"total": ["Bad."]}}, "success", {"total": ("Bad.",)}),
        ({"status": "FAILED"}, "FAILED", {}),
        ({"success": False}, "refused", {}),
        ({"error": "e" * 2000}, "e" * 1000, {}),
    ],
)
def test_a_refusal_keeps_its_words(said: dict[str, object], message: str, fields: dict[str, Any]) -> None:
    items = [{"external_id": "a", "entity_id": 1, **said}]
    verdict = results_of(reply({"status": "failed", "items": items}), SENT).verdict("a")
    assert (verdict.meaning, verdict.status, verdict.message, verdict.fields) == (R, 422, message, fields)


@pytest.mark.parametrize(
    ("said", "meaning", "taken"),
    [
        ({"entity_id": 7}, T, {"a": "7"}),
        ({"entity_id": 7, "status": "Created"}, T, {"a": "7"}),
        ({"status": "created"}, T, {"a": ""}),
        ({"entity_id": 7, "status": "odd"}, U, {}),
        ({}, U, {}),
    ],
)
def test_an_item_is_taken_by_its_state_or_by_its_id_alone(
    said: dict[str, object], meaning: Meaning, taken: dict[str, str]
) -> None:
    result = results_of(reply({"items": [{"external_id": "a", **said}]}), SENT)
    assert (result.verdict("a").meaning, result.taken) == (meaning, taken)


def test_what_names_nobody_or_one_twice_leaves_the_others_as_they_are() -> None:
    items = [item("a", "failed"), item("a", "success"), 5, item("b", "success"), item("c", "failed")]
    assert meanings("failed", items) == [U, T, R]


@pytest.mark.parametrize("items", [[], [item("b", "success")]])
def test_counts_that_are_those_sent_prove_the_rest(items: list[Any]) -> None:
    assert meanings("completed", items, total=3, processed=3, success=3, failed=0) == [T, T, T]
    assert meanings(None, items, total=3, processed=3, success=3, failed=0) == [T, T, T]
    assert meanings("finished", items, total="3", processed="3", success="3", failed="0") == [T, T, T]


def test_a_batch_that_names_only_its_failures_took_the_rest_if_its_counts_say_so() -> None:
    bad = [item("b", "failed", "No.")]
    assert meanings("failed", bad, total=3, processed=3, success=2, failed=1) == [T, R, T]
    assert meanings("completed", bad, failed=1) == [U, R, U]
    assert meanings("failed", bad, total=3, processed=3, success=4, failed=1) == [U, R, U]
    assert meanings("failed", bad, total=3, processed=3, success=2, failed=0) == [U, R, U]


def test_a_batch_that_names_all_leaves_no_rest_to_be_proven() -> None:
    said = {"total_count": 3, "processed_count": 3, "success_count": 3, "failed_count": 0, "status": "done"}
    result = results_of(reply({**said, "items": [item(name, "done") for name in SENT]}), SENT)
    assert result.proves_the_rest


@pytest.mark.parametrize(
    ("status", "items", "counts"),
    [
        ("cancelled", [], {"total": 3, "processed": 3, "success": 3, "failed": 0}),
        ("failed", [], {"total": 3, "processed": 3, "success": 0, "failed": 3}),
        ("failed", [], {"total": 3, "processed": 3, "success": 3, "failed": 0}),
        ("failed", [], {}),
        ("completed", [], {}),
        ("completed", [], {"total": 0, "processed": 0, "success": 0, "failed": 0}),
        ("completed", [], {"total": 2, "processed": 2, "success": 2, "failed": 0}),
        ("completed", [], {"total": 4, "processed": 4, "success": 4, "failed": 0}),
        ("completed", [], {"total": 3, "processed": 3, "success": 2, "failed": 0}),
        ("completed", [], {"total": 3, "processed": 3, "success": 2, "failed": 1}),
        ("completed", [item("b", "queued")], {"total": 3, "processed": 3, "success": 3, "failed": 0}),
        ("completed", [item("b", "pending")], {"total": 3, "processed": 3, "success": 3, "failed": 0}),
        ("completed", [item("b", "skipped")], {"total": 3, "processed": 3, "success": 3, "failed": 0}),
        ("completed", [item("z", "success")], {"total": 3, "processed": 3, "success": 3, "failed": 0}),
        ("completed", [item(None, "success")], {"total": 3, "processed": 3, "success": 3, "failed": 0}),
        ("completed", [5], {"total": 3, "processed": 3, "success": 3, "failed": 0}),
        (
            "completed",
            [item("b", "success"), item("b", "failed")],
            {"total": 3, "processed": 3, "success": 3, "failed": 0},
        ),
    ],
)
def test_a_batch_that_proves_nothing_leaves_all_to_be_looked_up(
    status: str, items: list[Any], counts: dict[str, int]
) -> None:
    assert meanings(status, items, **counts) == [U, U, U]


@pytest.mark.parametrize("status", ["queued", "pending", "processing", "odd", 5])
def test_a_state_that_is_neither_good_nor_bad_is_no_refusal(status: object) -> None:
    assert meanings("completed", [item("a", status)])[0] is U
