"""One command at a time in a working directory, wherever that is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pipeline.core.lock import hold
from pipeline.staging.workdir import Workdir


@contextmanager
def holding(
    home: Workdir, command: str, ledger: Path | str | None, *, shared: bool = False
) -> Iterator[None]:
    """Hold a working directory for the length of a `with` block.

    The file system's lock does that; in an object store, which has none, the ledger's database does.

    Args:
        home: The working directory.
        command: What this process does, for the message to others.
        ledger: The ledger that is named; a file is on this machine, whose own lock is enough for it.
        shared: Let others in that share it too.

    Raises:
        WorkdirBusy: Another process holds it.
        SettingsError: It cannot be locked.
    """
    with hold(home.lock_dir, command, shared=shared, known_as=home.address), ExitStack() as stack:
        if home.is_copy and isinstance(ledger, str):
            from pipeline.loading.ledger.ledger import SqlLedger  # a dry run on a disk needs no database

            opened = stack.enter_context(SqlLedger(ledger))
            stack.enter_context(opened.held(home.address, shared=shared))
        yield
