"""Fakes for tests of code that uses this package; they need no test framework.

with local_omneo(error_share=0.03, throttle_requests=600) as omneo:
    subprocess.run([...], env=os.environ | omneo.environment())
    omneo.drain()
    assert omneo.stats()["transactions"] == 20_000
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from pipeline.simulator import LocalOmneo, SimulatorSettings, running

__all__ = ["LocalOmneo", "local_omneo"]


@contextmanager
def local_omneo(settings: SimulatorSettings | None = None, **faults: float | str) -> Iterator[LocalOmneo]:
    """Run a local Omneo on a free loopback port for the length of a `with` block.

    It is a real HTTP server in a thread of this process. The object given tells what it was sent (`stats`,
    `arrivals`, `transactions`), works its queue off (`drain`) and changes its faults (`set_faults`).

    Args:
        settings: The tenant; the simulator's defaults where left out.
        faults: Fields of `pipeline.simulator.Faults` that differ from those of the settings.

    Raises:
        SettingsError: There is no such fault, a value is out of its range, or the database cannot be used.
    """
    settings = settings or SimulatorSettings()
    with running(replace(settings, faults=settings.faults.changed(faults))) as omneo:
        yield omneo
