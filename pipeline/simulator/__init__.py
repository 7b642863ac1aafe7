"""A local Omneo for demos, rehearsals and tests: a real HTTP server on loopback, its state in SQLite.

It follows Omneo's public pages; what they leave open is a setting with the harsher choice as default. The
settings are light to import; the server comes with the first use of `create_app`, `serve` or `running`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.simulator.simulator_settings import (
    EXAMPLE_TRIGGERS,
    Faults,
    Location,
    Profile,
    Reaction,
    SimulatorSettings,
    read_seed_file,
)

if TYPE_CHECKING:
    from pipeline.simulator.app import create_app
    from pipeline.simulator.arrival_log import Arrival
    from pipeline.simulator.server import LocalOmneo, running, serve

__all__ = [
    "EXAMPLE_TRIGGERS",
    "Arrival",
    "Faults",
    "LocalOmneo",
    "Location",
    "Profile",
    "Reaction",
    "SimulatorSettings",
    "create_app",
    "read_seed_file",
    "running",
    "serve",
]

_MODULES = {
    "create_app": "app",
    "Arrival": "arrival_log",
    "LocalOmneo": "server",
    "running": "server",
    "serve": "server",
}


def __getattr__(name: str) -> Any:
    """Import the server's parts when they are asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
