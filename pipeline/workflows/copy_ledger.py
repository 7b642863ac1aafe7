"""`copy-ledger`: copies the working directory's ledger, or another one, into PostgreSQL."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from pipeline.core.events import Emit, ignore
from pipeline.loading.ledger.copying import copy_ledger as copy
from pipeline.staging.workdir import Workdir
from pipeline.workflows.runs.workdir_lock import workdir_lock


def copy_ledger(
    workdir: Path, target: str, *, ledger: Path | str | None = None, emit: Emit = ignore
) -> dict[str, int]:
    """Copy a ledger while no command uses it; see `pipeline.loading.ledger.copying.copy_ledger`.

    Args:
        workdir: The working directory; no command may run in it.
        target: Where to, a `postgresql://` address.
        ledger: Another ledger than the working directory's own.
        emit: Gets the progress.

    Raises:
        SettingsError: It cannot be copied.
        WorkdirBusy: Another process holds the working directory.
    """
    home = Workdir(workdir.expanduser().absolute())
    is_there = home.path.exists()  # else a ledger is named that others use
    with workdir_lock(home, "copy-ledger", ledger) if is_there else nullcontext():
        return copy(ledger or home.ledger, target, emit)
