"""Lists of triggers as no page documents them: what is known of them holds old sales, nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from pipeline.core.errors import StoppedByApi
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.loading.triggers import Reactions, ask_reactions, held
from tests.loading.tenant import CONNECTION, QUICK


def ask(answer: Callable[[int], httpx.Response]) -> Reactions:
    """What is known of the triggers of a tenant that answers with this for each number of a page."""

    def handler(request: httpx.Request) -> httpx.Response:
        return answer(int(request.url.params["page[number]"]))

    found = ask_reactions(CONNECTION, DeliveryOptions(policy=QUICK), transport=httpx.MockTransport(handler))
    assert found is not None
    return found


def trigger(**fields: Any) -> dict[str, Any]:
    mail = {"uuid": "target.send"}
    return {"name": "Mail", "trigger": "transaction.created", "is_active": True, "actions": [mail], **fields}


def names(found: Reactions) -> list[str] | None:
    return None if found.active is None else [each.name for each in found.active]


@pytest.mark.parametrize("envelope", [False, True])
def test_short_pages_without_a_total_are_read_to_the_end(envelope: bool) -> None:
    some = [trigger(name=f"T{number}", is_active=number == 29) for number in range(30)]

    def answer(number: int) -> httpx.Response:
        page = some[(number - 1) * 10 : number * 10]
        return httpx.Response(200, json={"data": page} if envelope else page)

    assert names(ask(answer)) == ["T29"]


def test_a_list_that_has_no_pages_is_read_once_more() -> None:
    found = ask(lambda _: httpx.Response(200, json=[trigger()]))
    assert names(found) == ["Mail"]
    assert found.requests is not None
    assert found.requests.sent == 2


def test_an_active_trigger_is_known_although_a_later_page_fails() -> None:
    def answer(number: int) -> httpx.Response:
        if number == 1:
            return httpx.Response(200, json={"data": [trigger()], "meta": {"total": 150}})
        return httpx.Response(500)

    assert names(ask(answer)) == ["Mail"]


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(302, headers={"Location": "https://login.acme.test/"}),
        httpx.Response(403, html="<html>"),
        httpx.Response(404, html="<html>"),
        httpx.Response(405),
        httpx.Response(422),
        httpx.Response(200, html="<html>"),
        httpx.Response(200, json={"data": {"1": trigger()}}),
        httpx.Response(200, json={"error": "no", "data": [trigger()]}),
    ],
)
def test_anything_but_a_list_is_no_answer(answer: httpx.Response) -> None:
    found = ask(lambda _: httpx.Response(answer.status_code, headers=answer.headers, content=answer.content))
    assert found.active is None
    assert str(answer.status_code) in found.why_unknown or "list" in found.why_unknown


@pytest.mark.parametrize("status", [401, 407])
def test_who_may_not_ask_may_not_send(status: int) -> None:
    with pytest.raises(StoppedByApi):
        ask(lambda _: httpx.Response(status))


def test_values_of_another_kind_are_left_out() -> None:
    some = [
        trigger(trigger=["transaction.created"]),
        trigger(trigger={"event": "transaction.created"}),
        trigger(trigger=None),
        trigger(name={"en": "Post"}, actions=[1, None, {"uuid": None}]),
        trigger(name=None, actions="mail"),
    ]
    found = ask(lambda _: httpx.Response(200, json={"data": some, "meta": {"total": "five"}}))
    assert names(found) == ["{'en': 'Post'}", "unnamed"]


def test_a_name_stays_within_its_line() -> None:
    some = [trigger(name="A\n  - B\r\n" + "x" * 5000, actions=[{"uuid": "a\nb"}])]
    found = ask(lambda _: httpx.Response(200, json={"data": some, "meta": {"total": 1}}))
    assert found.active is not None
    lines = held(found.active, "r", 1).message.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("  - A - B xxx")
    assert len(lines[1]) < 300
