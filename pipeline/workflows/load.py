"""`load`: send a staged run."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.errors import SettingsError
from pipeline.loading.delivery.delivery_options import DeliveryResult
from pipeline.loading.delivery.loader import deliver, load_rules
from pipeline.workflows.runs.run_record import CommandResult
from pipeline.workflows.tenant.cancelled_sales import settle_cancelled
from pipeline.workflows.tenant.distributed_load import deliver_on_workers
from pipeline.workflows.tenant.open_run import OpenRun, Target
from pipeline.workflows.tenant.sending import send


def load(target: Target) -> CommandResult:
    """Send a staged run, or go on where it was stopped.

    Raises:
        CannotStart: There is no such run, or it or the ledger cannot be used.
        WorkdirBusy: Another process holds the working directory.
    """
    require_shared_ledger(target.engine, target.ledger)
    rules = load_rules(target.options)
    is_local = target.engine == "local"

    def deliver_run(run: OpenRun) -> DeliveryResult:
        result = run.deliver_by(deliver, rules=rules) if is_local else deliver_on_workers(run)
        return settle_cancelled(run, result)

    return send(target, "load", deliver_run, rules)


def require_shared_ledger(engine: str, ledger: Path | str | None) -> None:
    """Check that the workers of an engine can use the ledger.

    Raises:
        SettingsError: It is a file.
    """
    if engine != "local" and not isinstance(ledger, str):
        raise SettingsError(
            f"--engine {engine} loads from several processes, which need a ledger that they can share.",
            hint="Name one with --ledger postgresql://…, or `prepare` with this engine and `load` without.",
        )
