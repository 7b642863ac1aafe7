"""`listen`: receive webhooks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipeline.core.errors import SettingsError
from pipeline.core.events import Emit
from pipeline.core.memory import seldom_collecting
from pipeline.core.settings import Secret, base_url_from_environment
from pipeline.loading.confirm.webhook_receiver import listen as receive
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.staging.workdir import Workdir


def listen(
    workdir: Path,
    secret: Secret,
    *,
    host: str,
    port: int,
    emit: Emit,
    on_ready: Callable[[str], None],
    ledger: Path | str | None = None,
) -> None:
    """Receive webhooks until a signal comes; may run beside a load.

    Args:
        workdir: The working directory.
        secret: Signs the webhooks.
        host: The address to bind.
        port: The port to bind; 0 for a free one.
        emit: Is given every event.
        on_ready: Is given the URL, once webhooks can come.
        ledger: Another ledger than the working directory's own.

    Raises:
        SettingsError: The ledger or the address cannot be used.
    """
    home = Workdir.open(workdir)
    with SqlLedger(ledger or home.ledger, base_url_from_environment()) as opened:
        if opened.base_url is None and len(opened.tenants()) > 1:
            raise SettingsError(
                f"The ledger {opened.where} knows several tenants: {', '.join(opened.tenants())}.",
                hint="Set OMNEO_TENANT or OMNEO_BASE_URL to the one whose events these are.",
            )
        with seldom_collecting():
            receive(opened, secret, host=host, port=port, emit=emit, on_ready=on_ready)
