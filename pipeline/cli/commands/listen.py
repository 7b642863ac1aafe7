"""`listen`: receive webhooks."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from pipeline.cli.command import command
from pipeline.cli.console import Console, write_line
from pipeline.cli.options import FILE, LEDGER, option
from pipeline.cli.signals import serve_until_signalled
from pipeline.cli.workdir import local_workdir
from pipeline.core.settings import webhook_secret


@command
@option("--host", default="127.0.0.1", show_default=True, help="Address to bind; put TLS before any other.")
@option("--port", type=click.IntRange(0, 65535), default=8787, show_default=True, help="0 for a free one.")
@option(
    "--secret-file",
    type=FILE,
    help="A file that holds the webhooks' secret, instead of OMNEO_WEBHOOK_SECRET.",
)
@LEDGER
def listen(
    console: Console, host: str, port: int, secret_file: Path | None, ledger: Path | str | None
) -> int:
    """Receive Omneo's webhooks.

    Checks their HMAC and marks the transactions they name as confirmed.
    """
    from pipeline.workflows.listen import listen as receive_webhooks

    secret = webhook_secret(secret_file)
    with console.listening() as emit, local_workdir(console, ledger, writes=False) as workdir:
        receive = partial(
            receive_webhooks,
            workdir,
            secret,
            host=host,
            port=port,
            emit=emit,
            on_ready=lambda url: write_line(f"Listening on {url}", err=True),
            ledger=ledger,
        )
        return serve_until_signalled(console, receive)
