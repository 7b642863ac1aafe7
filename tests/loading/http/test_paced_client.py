from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate

import pytest

from pipeline.core.clock import FakeClock
from pipeline.core.errors import StoppedByApi
from pipeline.core.events import Emit, Event, Notice, ignore
from pipeline.loading.http.client import Answered, Call, Reply, Unsent
from pipeline.loading.http.endpoints import ENDPOINTS, batch_query
from pipeline.loading.http.paced_client import Limits, PacedClient

POST = ENDPOINTS["queue"].request([("A", b"{}")])
START = FakeClock().time()


@dataclass
class Scripted:
    """Answers at once by what time it is, and notes when it was asked."""

    clock: FakeClock
    answer: Callable[[float], Reply]
    at: list[float] = field(default_factory=list)

    async def send(self, call: Call) -> Reply:
        self.at.append(self.clock.now)
        return self.answer(self.clock.now)


def ask_for(
    answer: Callable[[float], Reply],
    call: Call = POST,
    *,
    tasks: int = 300,
    give_up_after_s: float = 60,
    emit: Emit = ignore,
) -> tuple[Scripted, StoppedByApi | None]:
    """Many tasks ask such a server until it is given up."""
    clock = FakeClock()
    server = Scripted(clock, answer)

    async def main() -> StoppedByApi | None:
        limits = Limits(concurrency=64, give_up_after_s=give_up_after_s)
        exchange = PacedClient(server, "https://api.acme.test", limits, clock, emit)
        asking = [asyncio.create_task(exchange.ask(call, str(number))) for number in range(tasks)]
        done, others = await asyncio.wait(asking, return_when=asyncio.FIRST_EXCEPTION)
        for each in others:
            each.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        errors = [each.exception() for each in done]
        return next((each for each in errors if isinstance(each, StoppedByApi)), None)

    return server, asyncio.run(main())


TOO_SOON = [
    {"retry-after": "0"},
    {"retry-after": "00"},
    {"retry-after": formatdate(START - 90, usegmt=True)},
    {"retry-after": formatdate(START, usegmt=True), "date": formatdate(START, usegmt=True)},
    {"retry-after": "-5"},
    {"retry-after": "soon"},
    {"retry-after": ""},
    {"x-ratelimit-reset": "0", "ratelimit-reset": "0", "x-ratelimit-reset-after": "0"},
    {"x-ratelimit-limit": "600", "x-ratelimit-remaining": "599", "retry-after": "0"},
    {},
]


@pytest.mark.slow
@pytest.mark.parametrize("call", [POST, batch_query("b1")], ids=["post", "poll"])
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("headers", TOO_SOON, ids=str)
def test_a_server_that_refuses_everything_is_asked_ever_less_often(
    headers: dict[str, str], status: int, call: Call
) -> None:
    server, error = ask_for(lambda _: Answered(status, headers=headers), call)
    assert error is not None
    assert len([at for at in server.at if at < 6]) <= 16
    assert len([at for at in server.at if at < 60]) <= 40


@pytest.mark.slow
def test_all_slow_down_where_a_good_server_begins_to_refuse_and_go_on_after_that() -> None:
    def answer(now: float) -> Reply:
        bad = 0 < now < 20
        return Answered(429, headers={"retry-after": "0"}) if bad else Answered(200, b'{"data": []}')

    clock = FakeClock()
    server = Scripted(clock, answer)

    async def main() -> float:
        exchange = PacedClient(server, "https://api.acme.test", Limits(concurrency=64), clock, ignore)

        async def one(number: int) -> None:
            await clock.sleep(number / 100)
            await exchange.ask(POST, str(number))

        await asyncio.gather(*map(one, range(2000)))
        return clock.now

    assert asyncio.run(main()) < 120
    assert len([at for at in server.at if 0 < at < 20]) < 60
    assert len(server.at) < 2200


@pytest.mark.parametrize("asked", [1, 7, 45])
def test_a_longer_wait_that_a_server_asks_for_is_kept(asked: int) -> None:
    headers = {"retry-after": str(asked)}
    server, _ = ask_for(lambda _: Answered(429, headers=headers), tasks=1, give_up_after_s=300)
    pauses = [late - early for early, late in zip(server.at, server.at[1:], strict=False)]
    assert all(pause >= asked for pause in pauses)


def test_an_outage_is_said_once_while_it_lasts() -> None:
    said: list[Event] = []
    ask_for(lambda _: Unsent("refused"), tasks=5, emit=said.append)
    notices = [each.message for each in said if isinstance(each, Notice)]
    assert len(notices) == 1
    assert re.fullmatch(
        r"https://api.acme.test does not answer for \d+ s now; tried for up to 60 s .*", notices[0]
    )


def test_a_name_without_an_address_is_not_waited_for_as_an_outage_is() -> None:
    unresolved = Unsent("no such name", "OMNEO_TENANT")
    server, error = ask_for(lambda _: unresolved, give_up_after_s=600)
    assert 3 <= len(server.at) <= 30
    assert server.at[-1] < 15
    assert error is not None
    assert "OMNEO_TENANT" in str(error)


def test_a_name_that_had_an_address_before_is_waited_for() -> None:
    """The network is away; nothing is wrong with the settings."""

    def answer(now: float) -> Reply:
        return Unsent("no such name", "OMNEO_TENANT") if now else Answered(503)

    server, error = ask_for(answer, give_up_after_s=60)
    assert server.at[-1] > 50
    assert error is not None
    assert "OMNEO_TENANT" not in str(error)
