"""The working directory and the runs in it. Everything here is private: it holds personal data."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.core.errors import RunError, SettingsError
from pipeline.core.storage.directories import Directory, directory_at, write
from pipeline.core.storage.files import discard, private_dir

ADDRESS = "address"
"""A file in the local copy of a working directory in an object store. It holds the URL of the original."""
MANIFEST = "manifest.json"
STAGED, QUARANTINED, SCRATCH = "staged", "quarantine", "buckets"
"""Directories in that of a run; the last is gone once the run is prepared."""
_RUN_ID = re.compile(r"\d{8}T\d{6}-[0-9a-f]{4}")


@dataclass(frozen=True)
class RunDir:
    """Where one run lives.

    Attributes:
        path: `<workdir>/runs/<run_id>`.
    """

    path: Path

    @property
    def run_id(self) -> str:
        """The run's id: the UTC second it began and, in hexadecimal, its fraction; so ids sort by time."""
        return self.path.name

    @property
    def address(self) -> str:
        """Where people find it: its path, or its URL where this is a copy of one in an object store."""
        home = Workdir(self.path.parents[1])
        return f"{home.address}/runs/{self.run_id}" if home.is_copy else str(self.path)

    @property
    def here(self) -> Directory:
        """Its directory on this machine."""
        return directory_at(self.path, SCRATCH)

    @property
    def shared(self) -> Directory:
        """Where all machines that work on the run reach it: its path, or its URL in an object store."""
        return directory_at(self.address, SCRATCH)

    @property
    def manifest(self) -> Path:
        """`manifest.json`, written last: a run without one was never finished."""
        return self.path / MANIFEST

    @property
    def staged(self) -> Path:
        """The directory of staged parts."""
        return self.path / STAGED

    @property
    def quarantine(self) -> Path:
        """The directory of quarantine parts."""
        return self.path / QUARANTINED

    @property
    def log(self) -> Path:
        """`run.log.jsonl`."""
        return self.path / "run.log.jsonl"

    @property
    def scratch(self) -> Path:
        """Rows and results of partitions while preparing; gone afterwards."""
        return self.path / SCRATCH


@dataclass(frozen=True)
class Workdir:
    """The directory that holds all runs and the ledger.

    Attributes:
        path: Absolute.
    """

    path: Path

    @classmethod
    def open(cls, path: Path) -> Workdir:
        """Make the directory if it does not exist, and let only its owner enter it.

        Raises:
            SettingsError: It is a file, or cannot be made or written.
        """
        path = path.expanduser().absolute()
        try:
            if path.exists() and not path.is_dir():
                raise NotADirectoryError(None, "it is a file")
            private_dir(path)
            private_dir(path / "runs")
            if not os.access(path / "runs", os.W_OK | os.X_OK):
                raise PermissionError("it is not writable")
        except OSError as error:
            raise SettingsError(
                f"The working directory {path} cannot be used: {error.strerror or error}.",
                hint="Name another with --workdir DIR.",
            ) from None
        return cls(path)

    @property
    def is_copy(self) -> bool:
        """Whether it is the local copy of one in an object store."""
        return (self.path / ADDRESS).exists()

    @property
    def address(self) -> str:
        """Where people find it: its path, or the URL that it is a copy of."""
        return (self.path / ADDRESS).read_text(encoding="utf-8") if self.is_copy else str(self.path)

    @property
    def lock_dir(self) -> Path:
        """Where its lock is, for all commands on this machine."""
        return self.path.parent if self.is_copy else self.path

    @property
    def ledger(self) -> Path:
        """The default ledger."""
        return self.path / "ledger.sqlite"

    @property
    def runs(self) -> list[RunDir]:
        """All runs, oldest first."""
        paths = sorted((self.path / "runs").glob("*"))
        return [RunDir(path) for path in paths if _RUN_ID.fullmatch(path.name)]

    def new_run(self) -> RunDir:
        """Make the directory of a new run; in an object store it is noted as begun."""
        while True:
            now = datetime.now(UTC)
            # With the fraction of a second, so that ids of one second sort by time, and `latest` is right.
            name = f"{now:%Y%m%dT%H%M%S}-{now.microsecond * 0x10000 // 1_000_000:04x}"
            path = self.path / "runs" / name
            if not path.exists():
                private_dir(path)
                if self.is_copy:
                    write(self._begun, name, b"")
                return RunDir(path)

    def discard_unfinished(self, younger_than: timedelta = timedelta()) -> None:
        """Remove what is left of runs that were never finished, since their process was killed.

        Args:
            younger_than: Leave those that began less than this ago.
        """
        if not self.is_copy:
            for run in self.runs:
                if not run.manifest.exists():
                    discard(run.path)
            return
        # Runs are noted when they begin: finding the unfinished ones among all objects would take long.
        for name in self._begun.names():
            run, began = RunDir(self.path / "runs" / name), started_at(name)
            if began is None or datetime.now(UTC) - began < younger_than:
                continue
            if not run.shared.names(run.manifest.name):
                run.shared.discard()
            self._begun.remove(name)

    @property
    def _begun(self) -> Directory:
        return directory_at(self.address) / "begun"

    def find(self, reference: str) -> RunDir:
        """The finished run with this id, this unique prefix of one, or the `latest`.

        Raises:
            RunError: There is none, there are several, or it was never finished.
        """
        runs = [run for run in self.runs if run.manifest.exists()]
        if reference == "latest":
            if not runs:
                raise RunError(
                    f"There is no run in {self.address} yet.",
                    hint="Make one: omneo-import prepare -m MAPPING SOURCE...",
                )
            return runs[-1]
        found = [run for run in runs if reference and run.run_id.startswith(reference)]
        if len(found) == 1:
            return found[0]
        exact = [run for run in found if run.run_id == reference]
        if exact:
            return exact[0]
        if found:
            names = ", ".join(run.run_id for run in found[:5])
            raise RunError(
                f"{reference!r} is the start of {len(found)} runs: {names}.", hint="Give more of it."
            )
        if reference and any(run.run_id.startswith(reference) for run in self.runs):
            raise RunError(f"Run {reference} was not prepared to its end.", hint="Prepare it again.")
        raise RunError(
            f"There is no run {reference!r} in {self.address}.", hint="List them: omneo-import status"
        )


def started_at(run_id: str) -> datetime | None:
    """When a run began, to the second; None where the text is not the id of a run."""
    if not _RUN_ID.fullmatch(run_id):
        return None
    return datetime.strptime(run_id[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
