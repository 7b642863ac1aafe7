"""Bulk import of historical point-of-sale transactions into Omneo.

    files ──extract──▶ raw rows ──mapping──▶ headers + items ──validation──▶ accepted | quarantine
                                                                                 │
    Omneo ◀──loading── staged run ◀──────────staging─────────────────────────────┘
      │                    ▲
      └── confirm ──▶ ledger ──▶ report

`workflows` has a file for each command and puts the stages together; `cli` reads options and shows results.
From Python, for a scheduler (docs/python.md):

    from pipeline import Target, connection_from_environment, load, prepare

    result = prepare(Path("work"), "shop.yaml", ["exports/"])
    if not result.exit_code:
        load(Target(Path("work"), result.summary.run_id, connection_from_environment()))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.api import *  # noqa: F403 (its __all__ is the list of public names, kept once)

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for, so that `omneo-import --help` stays fast."""
    if not name.startswith("_"):
        public = import_module("pipeline.api")
        if name in public.__all__:
            return getattr(public, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
