"""`void`: undo a run."""

from __future__ import annotations

from pipeline.loading.delivery.decisions import VoidRules
from pipeline.loading.delivery.loader import deliver
from pipeline.workflows.runs.run_record import CommandResult
from pipeline.workflows.tenant.open_run import Target
from pipeline.workflows.tenant.sending import send


def void(target: Target) -> CommandResult:
    """Send every delivered transaction of the run again as void; raises what `load` raises."""
    rules = VoidRules()
    return send(target, "void", lambda run: run.deliver_by(deliver, rules=rules), rules, whole_run=False)
