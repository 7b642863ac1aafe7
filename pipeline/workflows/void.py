"""`void`: undo a run."""

from __future__ import annotations

from pipeline.loading.delivery.decisions import Void
from pipeline.loading.void import void as deliver_void
from pipeline.workflows.delivery import Target, send
from pipeline.workflows.run_record import CommandResult


def void(target: Target) -> CommandResult:
    """Send every delivered transaction of the run again as void; raises what `load` raises."""
    return send(target, "void", lambda run: run.deliver_by(deliver_void), Void(), whole_run=False)
