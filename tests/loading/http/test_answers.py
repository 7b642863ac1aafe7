"""Delivered needs a yes: what each answer means."""

from __future__ import annotations

import json
from email.utils import formatdate
from typing import Any

import pytest

from pipeline.core.errors import StoppedByApi
from pipeline.loading.http.answers import (
    ABSENT,
    Expected,
    Meaning,
    judge,
    kept_id,
    retry_after_s,
    stopped,
    transaction_of,
)
from pipeline.loading.http.client import Answered, Unknown, Unsent, Untrusted

NOW = 1_700_000_000.0
YES = {
    Expected.QUEUED: b'{"data": "OK"}',
    Expected.BATCHED: b'{"message": "ok", "batch_id": "b-1"}',
    Expected.WRITTEN: b'{"data": {"id": 7, "external_id": "A"}}',
    Expected.FOUND: b'{"data": {"id": 7, "external_id": "A", "total": 1}}',
    Expected.LISTED: b'{"data": []}',
}
"""What the API documents for each kind of request."""

NO_YES = [
    b'{"success": false}',
    b'{"success": false, "data": "OK"}',
    b'{"success": "false", "data": {"id": 1, "external_id": "A"}, "batch_id": "b"}',
    b'{"message": "Something went wrong.", "error": true}',
    b'{"data": {"error": "No such currency."}}',
    b'{"data": {"errors": {"total": ["Bad."]}, "external_id": "A", "id": 1}}',
    b'{"data": {"success": false, "id": 1}}',
    b'{"status": "error", "data": {"id": 1, "external_id": "A"}}',
    b'{"status": 500, "data": {"id": 1, "external_id": "A"}, "batch_id": "b"}',
    b'{"code": 500, "data": {"id": 1, "external_id": "A"}, "batch_id": "b"}',
    b'{"status_code": "503", "data": {"id": 1, "external_id": "A"}, "batch_id": "b"}',
    b'{"success": "failed", "data": {"id": 1, "external_id": "A"}, "batch_id": "b"}',
    b'{"ok": 0}',
    b'{"ok": 0, "data": "OK", "batch_id": "b"}',
    b"{}",
    b'{"message": "Accepted."}',
    b"null",
    b"true",
    b'"OK"',
    b"OK",
    b"",
    b" \r\n",
    b'{"data": "OK"',
    b'{"data": "OK"} trailing',
    b'{"error": true, "error": false, "data": "OK", "batch_id": "b"}',
    b'{"data": {"id": 1, "external_id": "A", "id": 2}}',
    b'{"data": {"id": NaN}, "batch_id": "b", "x": NaN}',
    b'\xef\xbb\xbf{"data": {"id": 1, "external_id": "A"}, "batch_id": "b"}',
    '{"data": {"id": 1, "external_id": "A"}, "batch_id": "b"}'.encode("utf-16"),
    b"\xff\xfe\xfd",
    b"<html><title>Log in</title></html>",
    b"\n\n  <!doctype html><title>Log in</title>",
    b"\xef\xbb\xbf<html><title>Log in</title></html>",
    "<html><title>Log in</title></html>".encode("utf-16"),
    "<html><title>Log in</title></html>".encode("utf-16-le"),
]


@pytest.mark.parametrize("expected", Expected)
def test_a_documented_answer_is_a_yes(expected: Expected) -> None:
    assert judge(Answered(200, YES[expected]), NOW, expected, "A").meaning is Meaning.TAKEN
    assert judge(Answered(201, YES[expected]), NOW, expected, "A").meaning is Meaning.TAKEN


@pytest.mark.parametrize("expected", Expected)
@pytest.mark.parametrize("body", NO_YES)
def test_anything_else_is_neither_yes_nor_no(expected: Expected, body: bytes) -> None:
    for status in (200, 202, 204):
        verdict = judge(Answered(status, body), NOW, expected, "A")
        assert (verdict.meaning, verdict.in_doubt) == (Meaning.UNCLEAR, True)


@pytest.mark.parametrize("expected", [Expected.QUEUED, Expected.BATCHED, Expected.WRITTEN, Expected.FOUND])
@pytest.mark.parametrize("body", [b"[]", b'[{"id": 1}]', b'{"data": []}', b'{"data": null}'])
def test_a_list_is_no_yes_to_one_transaction(expected: Expected, body: bytes) -> None:
    assert judge(Answered(200, body), NOW, expected, "A").meaning is Meaning.UNCLEAR


@pytest.mark.parametrize("expected", [Expected.WRITTEN, Expected.FOUND])
@pytest.mark.parametrize("hollow", [b"false", b"true", b'""', b'" "', b"{}", b"[]", b"null", b"1.5"])
def test_a_transaction_has_an_id(expected: Expected, hollow: bytes) -> None:
    for name in (b"id", b"external_id"):
        for body in (b'{"data": {"%b": %b}}' % (name, hollow), b'{"%b": %b}' % (name, hollow)):
            assert judge(Answered(200, body), NOW, expected, "A").meaning is not Meaning.TAKEN


@pytest.mark.parametrize("body", [b'{"data": {"id": 1}}', b'{"id": 1, "message": "done"}'])
def test_an_id_alone_is_not_the_transaction_that_was_written(body: bytes) -> None:
    assert judge(Answered(200, body), NOW, Expected.WRITTEN, "A").meaning is Meaning.UNCLEAR


def test_another_transaction_is_no_yes() -> None:
    another = Answered(200, b'{"data": {"id": 7, "external_id": "B"}}')
    assert judge(another, NOW, Expected.WRITTEN, "A").meaning is Meaning.UNCLEAR
    assert judge(another, NOW, Expected.FOUND, "A") is ABSENT


def test_one_kind_of_yes_is_not_another() -> None:
    assert judge(Answered(200, YES[Expected.QUEUED]), NOW, Expected.WRITTEN, "A").meaning is Meaning.UNCLEAR
    assert judge(Answered(200, YES[Expected.QUEUED]), NOW, Expected.BATCHED).meaning is Meaning.UNCLEAR
    assert judge(Answered(200, YES[Expected.BATCHED]), NOW, Expected.QUEUED).meaning is Meaning.UNCLEAR


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"\xef\xbb\xbf<html><title>Log in</title>", "no answer of this API: a web page, 'Log in'"),
        ("<html><title>Log in</title>".encode("utf-16"), "no answer of this API: a web page, 'Log in'"),
        (b'{"success": false, "message": "Not today."}', "no answer of this API: Not today."),
        (b"", "no answer of this API: an empty body"),
    ],
)
def test_what_came_instead_is_said(body: bytes, message: str) -> None:
    assert judge(Answered(200, body), NOW, Expected.QUEUED).message == message


@pytest.mark.parametrize("page", [b"<html>Not Found</html>", b"\xef\xbb\xbf\n<html>"])
def test_a_page_that_says_404_is_no_absence(page: bytes) -> None:
    assert judge(Answered(404, page), NOW, Expected.FOUND, "A").meaning is Meaning.FATAL


def test_the_transaction_is_found_with_and_without_an_envelope() -> None:
    assert transaction_of(Answered(200, b'{"data": {"id": 1}}'), "A") == {"id": 1}
    assert transaction_of(Answered(200, b'{"id": 1}'), "A") == {"id": 1}
    nothing: Any
    for nothing in (
        Answered(404, b'{"message": "No."}'),
        Answered(200, b"x"),
        Answered(200, b"[]"),
        Unknown(""),
    ):
        assert transaction_of(nothing, "A") is None


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (200, Meaning.UNCLEAR),
        (302, Meaning.FATAL),
        (400, Meaning.REFUSED),
        (401, Meaning.FATAL),
        (403, Meaning.FATAL),
        (404, Meaning.FATAL),
        (405, Meaning.FATAL),
        (408, Meaning.TRANSIENT),
        (413, Meaning.REFUSED),
        (422, Meaning.REFUSED),
        (423, Meaning.TRANSIENT),
        (429, Meaning.THROTTLED),
        (500, Meaning.TRANSIENT),
        (503, Meaning.TRANSIENT),
    ],
)
def test_each_status_has_a_meaning(status: int, meaning: Meaning) -> None:
    assert judge(Answered(status), NOW, Expected.QUEUED).meaning is meaning


def test_a_404_to_a_look_up_is_an_answer() -> None:
    assert judge(Answered(404), NOW, Expected.FOUND).meaning is Meaning.REFUSED


def test_only_a_request_that_may_have_arrived_leaves_a_doubt() -> None:
    replies = (
        Unsent("no route"),
        Unknown("reset"),
        Answered(500),
        Answered(302),
        Answered(429),
        Answered(422),
    )
    in_doubt = [judge(reply, NOW, Expected.QUEUED).in_doubt for reply in replies]
    assert in_doubt == [False, True, True, True, False, False]


def test_tls_failure_is_fatal() -> None:
    verdict = judge(Untrusted("self-signed"), NOW, Expected.QUEUED)
    assert verdict.meaning is Meaning.FATAL
    assert "TLS" in str(stopped(verdict, "https://api"))


def test_the_words_of_a_refusal_are_kept_by_field() -> None:
    body = b'{"message": "Invalid.", "errors": {"items.0.name": ["Required.", "Short."], "total": "Bad."}}'
    verdict = judge(Answered(422, body), NOW, Expected.QUEUED)
    assert verdict.fields == {"items.0.name": ("Required.", "Short."), "total": ("Bad.",)}
    assert verdict.as_json() == (
        '{"message": "Invalid.", "errors": {"items.0.name": ["Required.", "Short."], "total": ["Bad."]}}'
    )


@pytest.mark.parametrize(
    "body", [b"<html>Too large</html>", b"[1]", b"\xff\xfe", b"", b'{"errors": 5}', b"[", b'{"a":']
)
def test_any_body_of_an_error_can_be_read(body: bytes) -> None:
    for each in (body, body * 3000, body * 100_000):
        verdict = judge(Answered(413, each), NOW, Expected.QUEUED)
        assert verdict.meaning is Meaning.REFUSED
        assert len(verdict.as_json()) <= 1000


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'["too", "big"]', '["too", "big"]'),
        (b'"no"', '"no"'),
        (b'{"errors": ["first", "second"]}', '{"errors": ["first", "second"]}'),
        (b'{"message": {"a": 1}}', '{"message": {"a": 1}}'),
        (b"  <html><head><title>Too\nlarge</title>", "a web page, 'Too large'"),
        (b"two\n  lines", "two lines"),
    ],
)
def test_words_of_any_other_form_are_kept_as_they_are(body: bytes, message: str) -> None:
    assert judge(Answered(400, body), NOW, Expected.QUEUED).message == message


def test_names_and_number_of_fields_are_bounded() -> None:
    errors = {f"{'x' * 500}\ud800{n}": [{"deep": ["er"]}] for n in range(500)}
    body = json.dumps({"errors": errors}).encode()
    fields = judge(Answered(422, body), NOW, Expected.QUEUED).fields
    assert len(fields) <= 50
    assert all(len(name) <= 100 and name.isprintable() for name in fields)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "17"}, 17.0),
        ({"retry-after": " 0 "}, 0.0),
        ({"retry-after": formatdate(NOW + 90, usegmt=True)}, 90.0),
        ({"retry-after": formatdate(NOW - 90, usegmt=True)}, 0.0),
        # The server's clock is a day ahead of ours: its own Date tells the wait.
        (
            {
                "retry-after": formatdate(NOW + 86_430, usegmt=True),
                "date": formatdate(NOW + 86_400, usegmt=True),
            },
            30.0,
        ),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "0.05"}, 0.05),
        ({"retry-after": "1."}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "Sat, 28 Nov 2026 22:00:00 +99999999999999"}, None),
        ({"retry-after": "30", "date": "1 Jan 99999999999 1:1:1 +0"}, 30.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "٣"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_both_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, NOW) == seconds


@pytest.mark.parametrize(
    "data",
    [
        '"error"',
        '"Failed"',
        '"false"',
        '"0"',
        "0",
        "[]",
        '[{"status": 422}, {"id": 2}]',
        '{"batch_id": "b", "total_count": 1, "success_count": 0, "failed_count": 1}',
        '{"total": 2, "failed": "1"}',
        '{"id": 7, "status": "failed"}',
        '[{"external_id": "A", "status": "Error"}]',
    ],
)
def test_data_that_says_no_is_no_yes_of_the_queue(data: str) -> None:
    verdict = judge(Answered(200, b'{"data": %b}' % data.encode()), NOW, Expected.QUEUED)
    assert verdict.meaning is Meaning.UNCLEAR


@pytest.mark.parametrize("status", ["failed", "completed"])
def test_a_sale_with_a_status_that_says_no_is_looked_up(status: str) -> None:
    answer = Answered(200, b'{"data": {"id": 7, "external_id": "A", "status": "%b"}}' % status.encode())
    written = judge(answer, NOW, Expected.WRITTEN, "A").meaning
    assert (written is Meaning.UNCLEAR) == (status == "failed")
    assert judge(answer, NOW, Expected.FOUND, "A").meaning is Meaning.TAKEN, (
        "the status may be the sale's own"
    )


def test_a_batch_in_the_queue_that_is_not_worked_off_yet_is_a_yes() -> None:
    answer = Answered(200, b'{"data": {"total_count": 1, "success_count": 0, "failed_count": 0}}')
    assert judge(answer, NOW, Expected.QUEUED, "A").meaning is Meaning.TAKEN


def test_a_proxy_that_wants_credentials_is_named() -> None:
    error = stopped(judge(Answered(407), NOW, Expected.QUEUED), "https://api")
    assert "proxy" in error.message
    assert "HTTPS_PROXY" in (error.hint or "")


@pytest.mark.parametrize("status", [401, 403, 302, 404])
def test_a_fatal_answer_becomes_an_error_with_a_fix(status: int) -> None:
    headers = {"location": "https://elsewhere/"}
    error = stopped(
        judge(Answered(status, b'{"message": "Unauthenticated."}', headers), NOW, Expected.QUEUED),
        "https://api",
    )
    assert isinstance(error, StoppedByApi)
    assert error.hint
    assert str(status) in error.message
    if status == 302:
        assert "https://elsewhere/" in error.message


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (17, "17"),
        ("a" * 200, "a" * 200),
        ("a" * 201, None),
        ("\ud800", None),
        ("a\u0000b", None),
        ([1], None),
    ],
)
def test_an_id_is_kept_that_can_be_written_and_looked_up(value: object, kept: str | None) -> None:
    assert kept_id(value) == kept
