"""Undo: what a run delivered is sent again as void."""

from __future__ import annotations

from typing import Any

from pipeline.core.errors import SettingsError
from pipeline.core.settings import Connection
from pipeline.loading.delivery.decisions import Void
from pipeline.loading.delivery.delivery_options import DeliveryOptions, DeliveryResult
from pipeline.loading.delivery.leases import Batches
from pipeline.loading.delivery.loader import deliver
from pipeline.loading.ledger.entries import RunRef
from pipeline.loading.ledger.ledger import SqlLedger


def void(
    run: RunRef,
    batches: Batches,
    connection: Connection,
    ledger: SqlLedger,
    options: DeliveryOptions | None = None,
    **how: Any,
) -> DeliveryResult:
    """Send every delivered transaction of the run again with `is_void: true`.

    What a later run has delivered with other contents belongs to that run and is left alone. Stopped and
    called again, it goes on. Takes the same arguments as `deliver`.

    Raises:
        SettingsError: The endpoint only creates, so it cannot void; or the ledger cannot be read.
    """
    options = options or DeliveryOptions()
    if not options.endpoint.upserts:
        raise SettingsError(
            f"--endpoint {options.endpoint.name} only creates transactions, so it cannot void any.",
            hint="Use --endpoint queue, whichever endpoint they were sent by.",
        )
    return deliver(run, batches, connection, ledger, options, plan=Void(), **how)
