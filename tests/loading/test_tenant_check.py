from __future__ import annotations

import httpx
import pytest

from pipeline.core.errors import StoppedByApi
from pipeline.core.settings import Connection, Secret
from pipeline.loading.customer_query import Person
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.loading.delivery.stop import Stop
from pipeline.loading.tenant_check import Preflight, Questions, preflight, questions
from pipeline.simulator import Location, Profile, SimulatorSettings
from pipeline.testing import LocalOmneo, local_omneo
from tests.loading.tenant import CONNECTION, QUICK, made

PROFILES = (
    Profile(email="p1@example.com"),
    Profile(email="p2@example.com", identities={"card": "42"}),
)


def ask(omneo: LocalOmneo, asked: Questions) -> Preflight:
    return preflight(asked, Connection(omneo.base_url, Secret(omneo.token)))


def test_a_run_is_read_into_questions() -> None:
    some = [made(n) for n in range(30)] + [made(99, location_id="S9", currency="XTS")]
    guest = made(100, profile_id=None, profile_id_handle=None, location_id=None)
    asked = questions([some[:20], [*some[20:], guest]], sample=5, seed=1)
    assert asked.locations == {"S0": 10, "S1": 10, "S2": 10, "S9": 1}
    assert asked.currencies == {"AUD": 31, "XTS": 1}
    assert asked.people == 10
    assert len(set(asked.sample)) == 5
    assert all(person.handle == "email" for person in asked.sample)


def test_what_would_be_created_or_is_unknown_is_named() -> None:
    locations = tuple(Location(f"S{n}") for n in range(250))
    settings = SimulatorSettings(profiles=PROFILES, locations=locations, currencies=("AUD", "NZD"))
    people = (
        Person("email", "P1@example.com"),
        Person("email", "nobody@example.com"),
        Person("card", "42"),
        Person("card", "43"),
        Person("", PROFILES[0].id),
        Person("", "00000000-0000-0000-0000-000000000000"),
    )
    with local_omneo(settings) as omneo:
        result = ask(
            omneo, Questions({"S3": 5, "S249": 1, "7": 2, "S999": 3}, {"AUD": 9, "USD": 2}, 6, people)
        )
        assert omneo.stats()["arrivals"]["accepted"] == 0
        assert omneo.stats()["locations"] == 250
    assert result.new_locations == {"S999": 3}
    assert result.unknown_currencies == {"USD": 2}
    assert (result.people_asked, result.people_known) == (6, 3)
    assert result.known_share.low == result.known_share.high == 0.5


def test_a_sample_gives_an_interval() -> None:
    with local_omneo(SimulatorSettings(profiles=PROFILES)) as omneo:
        result = ask(omneo, Questions({}, {}, 1000, (Person("card", "42"), Person("card", "1"))))
    assert 0 < result.known_share.low < 0.5 < result.known_share.high < 1


def test_a_bad_token_takes_one_request() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(401, json={"message": "Unauthenticated."})

    with pytest.raises(StoppedByApi, match="refused the token"):
        preflight(Questions({}, {}, 0, ()), CONNECTION, transport=httpx.MockTransport(answer))
    assert len(seen) == 1


@pytest.mark.parametrize("answer", [b"[]", b'{"data": null}', b'{"data": [1, null]}', b'{"data": {}}'])
def test_odd_lists_mean_that_nothing_is_known(answer: bytes) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=answer))
    result = preflight(Questions({"S1": 1}, {"AUD": 1}, 0, ()), CONNECTION, transport=transport)
    assert result.new_locations == {"S1": 1}
    assert result.unknown_currencies == {"AUD": 1}


@pytest.mark.parametrize(
    "answer", [b"no json", b"<html><title>Log in</title></html>", b"", b'{"data": [' + b"[" * 9999]
)
def test_what_is_no_answer_of_the_api_tells_nothing(answer: bytes) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=answer))
    options = DeliveryOptions(give_up_after_s=0.01)
    with pytest.raises(StoppedByApi, match="no answer of this API"):
        preflight(Questions({"S1": 1}, {}, 0, ()), CONNECTION, options, transport=transport)


def test_a_stop_leaves_the_rest_unasked() -> None:
    stop = Stop()

    def answer(_: httpx.Request) -> httpx.Response:
        stop.request()
        return httpx.Response(503)

    transport = httpx.MockTransport(answer)
    assert preflight(Questions({}, {}, 0, ()), CONNECTION, stop=stop, transport=transport) is None


def test_lists_without_a_total_are_read_to_their_end() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        number = int(request.url.params["page[number]"])
        count = {1: 100, 2: 100, 3: 0}[number]
        return httpx.Response(200, json=[{"external_id": f"S{number}-{n}"} for n in range(count)])

    asked = Questions({"S2-99": 1}, {}, 0, ())
    assert preflight(asked, CONNECTION, transport=httpx.MockTransport(answer)).new_locations == {}


def test_trouble_is_retried() -> None:
    calls: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        calls.append(1)
        return httpx.Response(503) if len(calls) < 3 else httpx.Response(200, json={"data": []})

    result = preflight(
        Questions({}, {}, 0, ()),
        CONNECTION,
        DeliveryOptions(policy=QUICK),
        transport=httpx.MockTransport(answer),
    )
    assert result.requests.errors == 2


def test_a_list_that_ignores_the_page_is_read_once() -> None:
    rows = [{"external_id": f"S{n}"} for n in range(100)]
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json={"data": rows}))
    assert preflight(
        Questions({"S7": 1, "X": 2}, {}, 0, ()), CONNECTION, transport=transport
    ).new_locations == {"X": 2}


@pytest.mark.parametrize(
    "answer",
    [httpx.Response(403, json={"message": "Forbidden"}), httpx.Response(404)],
    ids=["denied", "absent"],
)
def test_a_list_that_is_not_given_leaves_the_other_answers(answer: httpx.Response) -> None:
    def reply(request: httpx.Request) -> httpx.Response:
        return answer if request.url.path.endswith("/currencies") else httpx.Response(200, json={"data": []})

    asked = Questions({"S1": 1}, {"AUD": 1}, 1, (Person("email", "a@example.com"),))
    result = preflight(asked, CONNECTION, transport=httpx.MockTransport(reply))
    assert (result.new_locations, result.unknown_currencies) == ({"S1": 1}, None)
    assert (result.people_asked, result.people_known, result.people_unanswered) == (1, 0, 0)


def test_a_token_that_may_not_ask_for_customers_is_good_for_the_rest() -> None:
    def reply(request: httpx.Request) -> httpx.Response:
        denied = request.url.path.endswith("/profiles")
        return httpx.Response(403 if denied else 200, json={"data": [{"code": "AUD"}]})

    asked = Questions({}, {"AUD": 1}, 1, (Person("email", "a@example.com"),))
    result = preflight(asked, CONNECTION, transport=httpx.MockTransport(reply))
    assert (result.unknown_currencies, result.people_asked, result.people_unanswered) == ({}, 0, 1)


def test_a_token_that_may_ask_for_nothing_is_refused() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(403, json={"message": "Forbidden"}))
    with pytest.raises(StoppedByApi, match="refused the token"):
        preflight(Questions({"S1": 1}, {"AUD": 1}, 0, ()), CONNECTION, transport=transport)


def test_an_address_at_which_nothing_is_found_is_said_to_be_wrong() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(404, text="Not Found"))
    asked = Questions({"S1": 1}, {"AUD": 1}, 1, (Person("email", "a@example.com"),), ({"total": 1},))
    with pytest.raises(StoppedByApi, match=r"no such endpoint.*ends in /api/v3"):
        preflight(asked, CONNECTION, transport=transport)
