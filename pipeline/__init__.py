"""Bulk import of historical point-of-sale transactions into Omneo.

    files ──extract──▶ raw rows ──mapping──▶ headers + items ──validation──▶ accepted | quarantine
                                                                                 │
    Omneo ◀──loading── staged run ◀──────────staging─────────────────────────────┘
      │                    ▲
      └── confirm ──▶ ledger ──▶ report

`workflows` has a file for each command and puts the stages together; `cli` reads options and shows results.
From Python, for a scheduler:

    from pipeline import Target, connection_from_environment, load, prepare

    result = prepare(Path("work"), "shop.yaml", ["exports/"])
    if not result.exit_code:
        load(Target(Path("work"), result.summary.run_id, connection_from_environment()))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pipeline.core.settings import connection_from_environment
    from pipeline.loading.delivery.delivery_options import DeliveryOptions
    from pipeline.workflows.confirm import confirm
    from pipeline.workflows.delivery import Target
    from pipeline.workflows.load import load
    from pipeline.workflows.preflight import preflight
    from pipeline.workflows.prepare import PrepareOptions, prepare
    from pipeline.workflows.retry import retry
    from pipeline.workflows.void import void

__version__ = "0.1.0"
__all__ = [
    "DeliveryOptions",
    "PrepareOptions",
    "Target",
    "confirm",
    "connection_from_environment",
    "load",
    "preflight",
    "prepare",
    "retry",
    "void",
]

_MODULES: Final = {
    "DeliveryOptions": "pipeline.loading.delivery.delivery_options",
    "PrepareOptions": "pipeline.workflows.prepare",
    "Target": "pipeline.workflows.delivery",
    "connection_from_environment": "pipeline.core.settings",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for, so that `omneo-import --help` stays fast."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES.get(name, f"pipeline.workflows.{name}")), name)
