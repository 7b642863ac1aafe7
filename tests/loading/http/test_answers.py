"""Delivered needs a yes: what each answer means."""

from __future__ import annotations

import json
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import pytest

from pipeline.core.errors import StoppedByApi
from pipeline.loading.http.answers import (
    ABSENT,
    Expected,
    Meaning,
    ReplyVerdict,
    batch_id_in,
    count_of,
    judge,
    kept_id,
    retry_after_s,
    stopped,
    transaction_in,
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
    b'{"errors": ["No such currency."], "data": {"id": 1, "external_id": "A"}, "batch_id": "b"}',
    b'{"status": "Failed", "data": {"id": 1, "external_id": "A"}, "batch_id": "b"}',
    b'{"success": true, "ok": false, "data": {"id": 1, "external_id": "A"}, "batch_id": "b"}',
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
    created = judge(Answered(201, YES[expected]), NOW, expected, "A")
    assert (created.meaning, created.status, created.in_doubt) == (Meaning.TAKEN, 201, False)
    assert judge(Answered(300, YES[expected]), NOW, expected, "A").meaning is Meaning.FATAL


def test_any_object_that_is_found_is_a_yes_where_no_transaction_was_asked_for() -> None:
    assert judge(Answered(200, b'{"status": "failed"}'), NOW, Expected.FOUND).meaning is Meaning.TAKEN
    assert judge(Answered(200, b"{}"), NOW, Expected.FOUND).meaning is Meaning.UNCLEAR


@pytest.mark.parametrize(
    "body", [b'{"status": "completed", "data": "OK"}', b'{"success": true, "ok": 1, "data": ["a"]}']
)
def test_words_that_say_yes_are_no_error(body: bytes) -> None:
    assert judge(Answered(200, body), NOW, Expected.QUEUED).meaning is Meaning.TAKEN


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


def test_a_list_may_come_without_an_envelope() -> None:
    assert judge(Answered(200, b"[]"), NOW, Expected.LISTED).meaning is Meaning.TAKEN


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
        ("<html><title>Log in</title>".encode("utf-16-le"), "no answer of this API: a web page, 'Log in'"),
        ("<html><title>Log in</title>".encode("utf-16-be"), "no answer of this API: a web page, 'Log in'"),
        (b"\xfe\xff" + "<title>Hé".encode("utf-16-be"), "no answer of this API: a web page, 'Hé'"),
        (b"<html>Log in</html>", "no answer of this API: a web page"),
        (b"<title>".rjust(19_994) + b"Log in", "no answer of this API: a web page, 'Log in'"),
        (b"<title>".rjust(19_994) + b"Log in here", "no answer of this API: a web page, 'Log in'"),
        (b"no " * 1000, "no answer of this API: " + ("no " * 1000)[:1000]),
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
        Answered(404, b'{"id": 1}'),
        Answered(300, b'{"id": 1}'),
        Answered(200, b"x"),
        Answered(200, b"[]"),
        Unknown(""),
    ):
        assert transaction_of(nothing, "A") is None
    assert transaction_in({"external_id": "A"}, None) == {"external_id": "A"}
    assert transaction_in({"data": {"external_id": 7}}, "7") == {"external_id": 7}
    assert transaction_in({"external_id": "B"}, "A") is None


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (200, Meaning.UNCLEAR),
        (302, Meaning.FATAL),
        (400, Meaning.REFUSED),
        (401, Meaning.FATAL),
        (403, Meaning.FATAL),
        (399, Meaning.FATAL),
        (402, Meaning.REFUSED),
        (404, Meaning.FATAL),
        (405, Meaning.FATAL),
        (406, Meaning.REFUSED),
        (407, Meaning.FATAL),
        (408, Meaning.TRANSIENT),
        (413, Meaning.REFUSED),
        (422, Meaning.REFUSED),
        (423, Meaning.TRANSIENT),
        (425, Meaning.TRANSIENT),
        (429, Meaning.THROTTLED),
        (500, Meaning.TRANSIENT),
        (503, Meaning.TRANSIENT),
    ],
)
def test_each_status_has_a_meaning(status: int, meaning: Meaning) -> None:
    assert judge(Answered(status), NOW, Expected.QUEUED).meaning is meaning


@pytest.mark.parametrize("expected", [Expected.FOUND, Expected.LISTED])
def test_a_404_to_a_look_up_is_an_answer(expected: Expected) -> None:
    verdict = judge(Answered(404), NOW, expected)
    assert (verdict.meaning, verdict.status) == (Meaning.REFUSED, 404)


@pytest.mark.parametrize("status", [300, 302, 399])
def test_a_redirect_names_where_it_leads(status: int) -> None:
    verdict = judge(Answered(status, b"Moved.", {"location": "/login"}), NOW, Expected.QUEUED)
    assert verdict.message == "a redirect to /login"


def test_only_a_request_that_may_have_arrived_leaves_a_doubt() -> None:
    replies = (
        Unsent("no route"),
        Unknown("reset"),
        *map(Answered, (500, 300, 302, 399)),
        *map(Answered, (400, 422, 429, 499)),
    )
    in_doubt = [judge(reply, NOW, Expected.QUEUED).in_doubt for reply in replies]
    assert in_doubt == [False, True, True, True, True, True, False, False, False, False]


@pytest.mark.parametrize(("status", "wait"), [(429, 7), (503, 7), (423, 7), (422, None), (401, None)])
def test_a_wait_is_asked_for_only_where_it_is_sent_again(status: int, wait: int | None) -> None:
    verdict = judge(Answered(status, headers={"retry-after": "7"}), NOW, Expected.QUEUED)
    assert (verdict.retry_after_s, verdict.again) == (wait, wait is not None)


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (0, 0),
        (12, 12),
        ("12", 12),
        ("9" * 9, 999_999_999),
        ("9" * 10, None),
        (True, None),
        ("x", None),
        ("-1", None),
        (None, None),
        (1.0, None),
    ],
)
def test_a_count_may_be_a_text(value: object, count: int | None) -> None:
    assert count_of(value) == count


@pytest.mark.parametrize(
    ("said", "batch_id"),
    [
        ({"batch_id": "b"}, "b"),
        ({"data": {"batch_id": 7}}, "7"),
        ({"batch_id": "b", "data": {"batch_id": "c"}}, "b"),
        ({"data": "OK"}, None),
    ],
)
def test_a_batch_has_its_id_with_and_without_an_envelope(said: dict[str, Any], batch_id: str | None) -> None:
    assert batch_id_in(said) == batch_id


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


def test_the_words_in_the_ledger_are_cut_so_that_they_fit() -> None:
    verdict = ReplyVerdict(Meaning.REFUSED, 422, "é" * 400, {"x" * 101: ("y" * 201, "z\n")})
    said = {"message": "é" * 300, "errors": {"x" * 100: ["y" * 200, "z "]}}
    assert verdict.as_json() == json.dumps(said, ensure_ascii=False)
    assert replace(verdict, fields={}).as_json() == json.dumps({"message": "é" * 300}, ensure_ascii=False)
    assert ReplyVerdict(Meaning.REFUSED, 422).as_json() == ""


@pytest.mark.parametrize(("length", "kept"), [(200, True), (201, False)])
def test_a_field_too_many_is_left_out(length: int, kept: bool) -> None:
    fields = {f"{at}": ("e" * 200,) for at in range(4)}
    room = 1000 - len(ReplyVerdict(Meaning.REFUSED, fields=fields).as_json()) - len(', "last": [""]')
    longer = {**fields, "last": ("e" * (room + length - 200),)}
    assert ('"last"' in ReplyVerdict(Meaning.REFUSED, fields=longer).as_json()) is kept


@pytest.mark.parametrize(
    ("message", "fields"), [("no ann@example.com", {}), ("", {"ann@example.com": ("no ann@example.com",)})]
)
def test_what_is_personal_is_masked_where_it_enters(message: str, fields: dict[str, Any]) -> None:
    verdict = ReplyVerdict(Meaning.REFUSED, message=message, fields=fields)
    assert "ann@example" not in verdict.as_json()
    assert "@" in verdict.as_json()


@pytest.mark.parametrize(("message", "fields"), [("no Smith", {}), ("", {"Smith": ("no Smith",)})])
def test_what_a_request_said_of_people_is_masked_in_its_answer(message: str, fields: dict[str, Any]) -> None:
    verdict = ReplyVerdict(Meaning.REFUSED, message=message, fields=fields)
    assert "Smith" not in verdict.without(["Smith"]).as_json()
    assert verdict.without(["Smith"]).meaning is Meaning.REFUSED
    assert "Smith" in verdict.as_json()
    assert verdict.without([]) is verdict


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
        (b'{"errors": {"total": ["Bad."]}}', ""),
    ],
)
def test_words_of_any_other_form_are_kept_as_they_are(body: bytes, message: str) -> None:
    assert judge(Answered(400, body), NOW, Expected.QUEUED).message == message


@pytest.mark.slow
def test_names_and_number_of_fields_are_bounded() -> None:
    errors = {f"no {n}\ud800{'x' * 500}": [{"deep": "e" * 2000}] * 60 for n in range(500)}
    body = json.dumps({"errors": errors}).encode()
    fields = judge(Answered(422, body), NOW, Expected.QUEUED).fields
    assert len(fields) == 50
    assert all(len(name) == 100 and name.isprintable() for name in fields)
    assert {len(messages) for messages in fields.values()} == {50}
    assert {len(each) for messages in fields.values() for each in messages} == {1000}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "17"}, 17.0),
        ({"retry-after": " 0 "}, 0.0),
        ({"retry-after": formatdate(NOW + 90, usegmt=True)}, 90.0),
        ({"retry-after": formatdate(NOW - 90, usegmt=True)}, 0.0),
        ({"retry-after": "Wed, 15 Nov 2023 00:14:50 +0200"}, 90.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:14:50 -0000"}, 90.0),
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


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (401, "refused the token"),
        (403, "refused the token"),
        (302, "answered 302"),
        (404, "no such endpoint"),
        (405, "no such endpoint"),
        (407, "A proxy"),
    ],
)
def test_a_fatal_answer_becomes_an_error_with_a_fix(status: int, cause: str) -> None:
    headers = {"location": "https://elsewhere/"}
    error = stopped(
        judge(Answered(status, b'{"message": "Unauthenticated."}', headers), NOW, Expected.QUEUED),
        "https://api",
    )
    assert isinstance(error, StoppedByApi)
    assert error.hint
    assert str(status) in error.message
    assert cause in error.message
    assert ("It said: Unauthenticated." in error.message) == (status != 302)
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
        (True, None),
        (" ", None),
    ],
)
def test_an_id_is_kept_that_can_be_written_and_looked_up(value: object, kept: str | None) -> None:
    assert kept_id(value) == kept
