"""A local Omneo on a real socket, with a client that carries its token."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest

from pipeline.simulator import Faults, Location, Profile, SimulatorSettings
from pipeline.testing import LocalOmneo


@pytest.fixture
def sale() -> Callable[..., dict]:
    """Make a valid transaction with two items."""

    def make(external_id: str = "S-1", **fields) -> dict:
        items = [
            {
                "external_id": f"{external_id}/{n}",
                "name": name,
                "quantity": 1,
                "price_current": price,
                "price_sell": price,
            }
            for n, (name, price) in enumerate([("Trench coat", 199.95), ("Socks", 9.5)], start=1)
        ]
        return {
            "external_id": external_id,
            "total": 209.45,
            "transacted_at": "2024-03-01 10:00:00",
            "items": items,
        } | fields

    return make


SETTINGS = SimulatorSettings(
    currencies=("AUD", "NZD"),
    locations=(Location("MEL-01", "Melbourne", "Australia/Melbourne"), Location("SYD-01")),
    profiles=(
        Profile("ana@example.com", {"shopify": "42", "loyalty-card": "9001"}, "Ana", "Silva"),
        Profile("bo@example.com", first_name="Bo", last_name="Chen"),
    ),
    faults=Faults(job_delay_s=600),
)


@pytest.fixture
def omneo_settings() -> SimulatorSettings:
    return SETTINGS


@pytest.fixture
def api(omneo: LocalOmneo, client: Callable[[LocalOmneo], httpx.Client]) -> httpx.Client:
    return client(omneo)


@pytest.fixture
def client() -> Iterator[Callable[[LocalOmneo], httpx.Client]]:
    """Make clients of a simulator; they are closed at the end of the test."""
    with ExitStack() as stack:

        def make(omneo: LocalOmneo) -> httpx.Client:
            headers = {"Authorization": f"Bearer {omneo.token}"}
            return stack.enter_context(
                httpx.Client(base_url=omneo.base_url, headers=headers, trust_env=False, timeout=10)
            )

        yield make
