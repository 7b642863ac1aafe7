"""Commands on a staged run and a tenant."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from pipeline.cli.command import command
from pipeline.cli.console import Console, write_line
from pipeline.cli.monitoring import monitored
from pipeline.cli.options import (
    CONNECTING,
    ENGINE,
    FILE,
    FIRST,
    LEDGER,
    MAX_REFUSED,
    REACTIONS,
    RUN,
    SENDING,
    YES,
    add_options,
    option,
    require_local_first,
)
from pipeline.cli.parameters import SHARE, Count
from pipeline.cli.run_access import local_workdir, on_run
from pipeline.cli.signals import serve_until_signalled
from pipeline.core.errors import SettingsError
from pipeline.core.settings import base_url_from_environment, webhook_secret


@command
@add_options(CONNECTING)
@option("--customers", type=Count(0, 10_000), default=200, help="How many to ask for.")
@RUN
def preflight(console: Console, reference: str, customers: int, **arguments: Any) -> int:
    """Ask the tenant, sending no transaction.

    Is the token good, which locations would be created, are the currencies configured, what share of a
    sample of customers is known? The answers join the report.

    Example:
      omneo-import preflight latest
    """
    from pipeline.workflows.preflight import preflight as ask_tenant

    ask = partial(ask_tenant, sample=customers)
    return on_run(console, reference, arguments, ask, "preflight")


@command
@monitored
@add_options(SENDING)
@MAX_REFUSED
@add_options(REACTIONS)
@FIRST
@ENGINE
@RUN
def load(console: Console, reference: str, **arguments: Any) -> int:
    """Send a staged run, or go on with it.

    Sends exactly the bytes that `prepare` reviewed. Run again after any stop, it goes on where it was.

    Example:
      omneo-import load latest --first 20
      omneo-import load latest --rate 600/min
    """
    from pipeline.workflows.load import load as load_run

    require_local_first(arguments["engine"], arguments["first"])
    return on_run(console, reference, arguments, load_run)


@command
@monitored
@add_options(SENDING)
@add_options(REACTIONS)
@RUN
def retry(console: Console, reference: str, **arguments: Any) -> int:
    """Send again what failed or was refused.

    Example:
      omneo-import retry latest
    """
    from pipeline.workflows.retry import retry as retry_run

    return on_run(console, reference, arguments, retry_run)


@command
@monitored
@add_options(CONNECTING)
@option("--sample", type=SHARE, default="100%", help="Share to look up, chosen at random.")
@option("--resend", is_flag=True, help="Send the missing ones again.")
@option(
    "--effects",
    is_flag=True,
    help="Instead, compare customers' lifetime spend with what it was before the run was sent.",
)
@option(
    "--profiles",
    type=Count(1),
    default=50,
    help="With --effects: how many customers to ask for, of those whose figures from before are known.",
)
@add_options(REACTIONS)
@RUN
def confirm(
    console: Console,
    reference: str,
    sample: float,
    resend: bool,
    effects: bool,
    profiles: int,
    **arguments: Any,
) -> int:
    """Look transactions up in Omneo and compare.

    Says which are missing or differ. With --effects: whether customers' lifetime spend rose by exactly what
    was imported.

    Example:
      omneo-import confirm latest --resend
      omneo-import confirm latest --effects --profiles 20
    """
    from pipeline.workflows.confirm import confirm as confirm_run
    from pipeline.workflows.confirm import confirm_effects

    if effects and resend:
        raise SettingsError("--effects and --resend exclude each other.", hint="Give one of them.")
    if effects:
        return on_run(console, reference, arguments, partial(confirm_effects, profiles=profiles))
    look_up = partial(confirm_run, sample=sample, resend=resend)
    return on_run(console, reference, arguments, look_up)


WHAT_STAYS = (
    "A void does not undo everything: points, rewards and mails that Omneo has already given for these "
    "sales may stay. Omneo does not document what a void takes back."
)


@command
@add_options(CONNECTING)
@add_options(REACTIONS)
@YES
@RUN
def void(console: Console, reference: str, yes: bool, **arguments: Any) -> int:
    """Undo a run: send it again as void.

    Every transaction that it delivered is sent with `is_void: true`. Asks first. Points, rewards and mails
    that Omneo has already given for them may stay.

    Example:
      omneo-import void 20260701T033000-8f21
    """
    from pipeline.core.text.wording import count
    from pipeline.workflows.status import status
    from pipeline.workflows.void import void as void_run

    ledger, base_url = arguments["ledger"], base_url_from_environment()
    with local_workdir(console, ledger, run=reference, bodies=False, writes=False) as workdir:
        *_, last = status(workdir, reference, ledger=ledger, base_url=base_url)
    summary = last.summary
    sent = count(summary.delivery.delivered + summary.delivery.in_doubt, "transaction")
    console.say_wrapped(WHAT_STAYS)
    if not yes and not console.agreed(f"Void {sent} of run {summary.run_id} in {summary.tenant or 'Omneo'}?"):
        console.say("Nothing was voided.")
        console.result(summary.as_dict())
        return 0
    return on_run(console, summary.run_id, arguments, void_run)


@command
@option("--host", metavar="ADDRESS", default="127.0.0.1", help="Address to bind; put TLS before any other.")
@option("--port", type=Count(0, 65535), metavar="PORT", default=8787, help="0 for a free one.")
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

    Example:
      omneo-import listen --port 8787 --secret-file /etc/webhook-secret
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
