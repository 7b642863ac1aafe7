"""A ledger of an older version did not note its tenant: the first one that answers takes its records over."""

from __future__ import annotations

import asyncio
from typing import Final

import httpx

from pipeline.core.clock import Clock
from pipeline.core.errors import StoppedByApi
from pipeline.core.events import Emit, Notice, ignore
from pipeline.core.settings import Connection
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.loading.delivery.stop import Stop, until_stopped
from pipeline.loading.http.answers import Meaning
from pipeline.loading.http.endpoints import transaction_query
from pipeline.loading.http.paced_client import PacedClient, connected
from pipeline.loading.ledger.ledger import SqlLedger

# Omneo knows the token, even if it may not query.
_DENIED: Final = 403
_ANYTHING: Final = "omneo-import"  # an id to ask for, where nothing was ever delivered


def adopt(
    ledger: SqlLedger,
    connection: Connection,
    options: DeliveryOptions,
    *,
    emit: Emit = ignore,
    stop: Stop | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    clock: Clock | None = None,
) -> bool:
    """Give records whose tenant was not noted to this tenant, if it answers the token.

    Without that answer nothing may be decided: to another tenant all of a run would be sent again.

    Args:
        ledger: For the tenant.
        connection: The tenant.
        options: How long to try.
        emit: Gets a notice of it.
        stop: Asks it to stop.
        transport: Takes the place of the network in tests.
        clock: Takes the place of the system's clocks in tests.

    Returns:
        Whether there was anything to take over.

    Raises:
        StoppedByApi: The token was refused, there was no answer for too long, or none of Omneo's.
    """
    external_id = ledger.unadopted()
    if external_id is None:
        return False

    async def ask() -> bool | None:
        async with connected(connection, options, emit, transport=transport, clock=clock) as api:
            return await until_stopped(
                _is_omneo(external_id or _ANYTHING, api, connection.base_url), stop or Stop()
            )

    if not asyncio.run(ask()) or not ledger.adopt():
        return False
    sentence = f"What an older version noted in the ledger belongs to {ledger.base_url} from now on."
    emit(Notice("ledger_adopted", sentence))
    return True


async def _is_omneo(external_id: str, api: PacedClient, base_url: str) -> bool:
    """Query a transaction: whether there is one does not matter, as long as it is Omneo that says so.

    Raises:
        StoppedByApi: What came is no answer of Omneo's.
    """
    verdict, _ = await api.ask(transaction_query(external_id), external_id, or_denied=True)
    if verdict.meaning not in (Meaning.TAKEN, Meaning.REFUSED) and verdict.status != _DENIED:
        raise StoppedByApi(
            f"{base_url} gave no answer of Omneo's ({verdict.status}), so whether the "
            "ledger's older records belong to it is unknown.",
            hint="Check OMNEO_BASE_URL, then repeat the command.",
        )
    return True
