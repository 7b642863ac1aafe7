"""What an older version noted without a tenant goes to the first one that answers as Omneo does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import pytest

from pipeline.core.clock import FakeClock
from pipeline.core.errors import StoppedByApi
from pipeline.core.events import Event, Notice
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.loading.delivery.stop import Stop
from pipeline.loading.ledger.adoption import adopt
from pipeline.loading.ledger.entries import Record, RunRef, State
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.loading.ledger.tables import TENANTS
from tests.loading.tenant import CONNECTION, QUICK

URL = CONNECTION.base_url
RUN = RunRef("r1", 5, 1)


def orphaned(path: Path, states: Sequence[State]) -> None:
    """A ledger whose tenant was not noted, with a sale in each of these states."""
    with SqlLedger(path, URL) as ledger:
        no = ledger.open_run(RUN).run_no
        ledger.record([Record(f"{state} sale", b"", state, no) for state in states])
        with ledger.writing():
            ledger.connection.execute(TENANTS.update().values(base_url=""))


def adopted(
    path: Path, answer: Callable[[httpx.Request], httpx.Response], stop: Stop | None = None
) -> tuple[bool, list[str], list[str]]:
    """Whether it was taken over, the ids that were asked for, and the runs that the tenant has then."""
    asked: list[str] = []
    events: list[Event] = []

    async def tenant(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path.removeprefix("/api/v3/transactions/external/"))
        if stop is not None:
            await asyncio.Event().wait()
        return answer(request)

    options = DeliveryOptions(policy=QUICK, give_up_after_s=1)
    with SqlLedger(path, URL) as ledger:
        done = adopt(
            ledger,
            CONNECTION,
            options,
            emit=events.append,
            stop=stop,
            transport=httpx.MockTransport(tenant),
            clock=FakeClock(),
        )
        assert [each.code for each in events if isinstance(each, Notice)] == ["ledger_adopted"] * done
        return done, asked, ledger.runs()


@pytest.mark.parametrize("answer", [(200, {"data": {"id": 1}}), (404, {"message": "No."}), (403, {})])
def test_a_tenant_that_answers_the_token_gets_the_records(tmp_path: Path, answer: tuple[int, object]) -> None:
    orphaned(tmp_path / "l.db", [State.REFUSED, State.DELIVERED])
    reply = httpx.Response(answer[0], json=answer[1])
    # What was delivered says more than what was not: a tenant that has it is the one.
    assert adopted(tmp_path / "l.db", lambda _: reply) == (True, ["delivered sale"], ["r1"])
    assert adopted(tmp_path / "l.db", lambda _: reply) == (False, [], ["r1"])


@pytest.mark.parametrize(("states", "asked"), [([State.REFUSED], "refused sale"), ([], "omneo-import")])
def test_any_transaction_may_be_asked_for_where_none_was_delivered(
    tmp_path: Path, states: list[State], asked: str
) -> None:
    orphaned(tmp_path / "l.db", states)
    assert adopted(tmp_path / "l.db", lambda _: httpx.Response(404, json={})) == (True, [asked], ["r1"])


@pytest.mark.parametrize("status", [200, 405, 401, 503])
def test_what_is_no_answer_of_omneos_gives_the_records_to_nobody(tmp_path: Path, status: int) -> None:
    orphaned(tmp_path / "l.db", [State.DELIVERED])
    with pytest.raises(StoppedByApi):
        adopted(tmp_path / "l.db", lambda _: httpx.Response(status, text="<html>"))
    with SqlLedger(tmp_path / "l.db", URL) as ledger:
        assert (ledger.runs(), ledger.unadopted()) == ([], "delivered sale")


def test_a_question_that_was_stopped_takes_nothing_over(tmp_path: Path) -> None:
    orphaned(tmp_path / "l.db", [State.DELIVERED])
    stop = Stop()
    stop.request()
    done, _, runs = adopted(tmp_path / "l.db", lambda _: httpx.Response(404, json={}), stop)
    assert (done, runs) == (False, [])


def test_a_tenant_that_got_records_meanwhile_takes_no_others(tmp_path: Path) -> None:
    orphaned(tmp_path / "l.db", [State.DELIVERED])

    def answer(_: httpx.Request) -> httpx.Response:
        with SqlLedger(tmp_path / "l.db", URL) as other:
            other.open_run(RunRef("r2", 1, 2))
        return httpx.Response(404, json={})

    assert adopted(tmp_path / "l.db", answer) == (False, ["delivered sale"], ["r2"])
