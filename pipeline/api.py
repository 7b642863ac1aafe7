"""The public names, which are stable: `from pipeline import prepare, load, confirm`. See docs/python.md."""

from pipeline.core.errors import (
    CannotStart,
    GateClosed,
    ImportToolError,
    MappingError,
    NothingNew,
    ReactionsHeld,
    RunError,
    SettingsError,
    SourceError,
    StoppedByApi,
    WorkdirBusy,
)
from pipeline.core.events import (
    Event,
    Notice,
    Progress,
    RunFinished,
    RunStarted,
    StageFinished,
    StageStarted,
)
from pipeline.core.memory import Budget
from pipeline.core.settings import Connection, Limit, connection_from_environment
from pipeline.loading.delivery.decisions import InDoubtRule, OnChange
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.loading.delivery.stop import Stop
from pipeline.loading.http.endpoints import endpoint_named
from pipeline.report.summary import Summary
from pipeline.workflows.confirm import confirm, confirm_effects
from pipeline.workflows.forget import forget
from pipeline.workflows.load import load
from pipeline.workflows.preflight import preflight
from pipeline.workflows.prepare import PrepareOptions, prepare
from pipeline.workflows.prune import prune
from pipeline.workflows.results import write_results
from pipeline.workflows.retry import retry
from pipeline.workflows.runs.incremental import FileSelection
from pipeline.workflows.runs.run_record import CommandResult
from pipeline.workflows.status import RunOverview, status
from pipeline.workflows.tenant.open_run import ReactionsPolicy, Target
from pipeline.workflows.void import void

__all__ = [
    "Budget",
    "CannotStart",
    "CommandResult",
    "Connection",
    "DeliveryOptions",
    "Event",
    "FileSelection",
    "GateClosed",
    "ImportToolError",
    "InDoubtRule",
    "Limit",
    "MappingError",
    "NothingNew",
    "Notice",
    "OnChange",
    "PrepareOptions",
    "Progress",
    "ReactionsHeld",
    "ReactionsPolicy",
    "RunError",
    "RunFinished",
    "RunOverview",
    "RunStarted",
    "SettingsError",
    "SourceError",
    "StageFinished",
    "StageStarted",
    "Stop",
    "StoppedByApi",
    "Summary",
    "Target",
    "WorkdirBusy",
    "confirm",
    "confirm_effects",
    "connection_from_environment",
    "endpoint_named",
    "forget",
    "load",
    "preflight",
    "prepare",
    "prune",
    "retry",
    "status",
    "void",
    "write_results",
]
