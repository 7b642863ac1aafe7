"""`load`: send a staged run."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.errors import SettingsError
from pipeline.loading.delivery.loader import deliver, load_rules
from pipeline.workflows.delivery import Target, send
from pipeline.workflows.distributed_load import deliver_on_workers
from pipeline.workflows.run_record import CommandResult


def load(target: Target) -> CommandResult:
    """Send a staged run, or go on where it was stopped.

    Raises:
        CannotStart: There is no such run, or it or the ledger cannot be used.
        WorkdirBusy: Another process holds the working directory.
    """
    require_shared_ledger(target.engine, target.ledger)
    rules = load_rules(target.options)
    if target.engine == "local":
        return send(target, "load", lambda run: run.deliver_by(deliver, rules=rules), rules)
    return send(target, "load", deliver_on_workers, rules)


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
