"""`retry`: send again what failed or was refused."""

from __future__ import annotations

from pipeline.loading.delivery.decisions import RetryRules
from pipeline.loading.delivery.loader import deliver
from pipeline.workflows.runs.run_record import CommandResult
from pipeline.workflows.tenant.open_run import Target
from pipeline.workflows.tenant.sending import send


def retry(target: Target) -> CommandResult:
    """Send again what failed or was refused; raises what `load` raises."""
    return send(target, "retry", lambda run: run.deliver_by(deliver, rules=RetryRules()), RetryRules())
