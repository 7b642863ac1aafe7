"""The command line as a script uses it: as a process of its own, or in this one where that will do."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from click.testing import CliRunner

from pipeline.cli.group import cli
from tests.forked import Forked

REPOSITORY = Path(__file__).parents[1]
SAMPLE = REPOSITORY / "sample_data" / "pos_lines.csv"

SUMMARY_KEYS = {
    *(
        "run_id",
        "run_dir",
        "report",
        "started_at",
        "duration_s",
        "rows",
        "transactions",
        "dropped",
        "rejected",
    ),
    *("warnings", "totals", "delivery", "confirmed", "missing", "differing", "requests"),
}
"""What the summary holds; nothing more, nothing less."""


@dataclass(frozen=True)
class Ended:
    """How a call ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def summary(self) -> dict[str, Any]:
        """The JSON object in the last line of stdout."""
        found: dict[str, Any] = json.loads(self.stdout.splitlines()[-1])
        return found


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without anything about Omneo, and with `extra`."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("OMNEO")}
    return own | {"PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "error"} | dict(extra or {})


def start(*arguments: object, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Forked:
    """Start `python -m pipeline` as a process of its own."""
    return Forked("pipeline", arguments, clean_environment(env), directory=cwd)


def ended(process: Forked) -> Ended:
    """Wait for a process."""
    stdout, stderr = process.communicate(timeout=120)
    return Ended(process.wait(), stdout, stderr)


def omneo_import(*arguments: object, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Ended:
    """Run `python -m pipeline` as a process of its own."""
    return ended(start(*arguments, env=env, cwd=cwd))


def call(*arguments: object, env: Mapping[str, str] | None = None, answer: str | None = None) -> Ended:
    """Run a command in this process, which saves two seconds of imports."""
    unset = {name: None for name in os.environ if name.startswith("OMNEO")}
    umask = os.umask(0o022)
    try:
        result = CliRunner().invoke(
            cli, [str(each) for each in arguments], answer, {**unset, **(env or {})}, prog_name="omneo-import"
        )
    finally:
        os.umask(umask)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ended(result.exit_code, result.stdout, result.stderr)


def everything_in(directory: Path) -> Iterator[Path]:
    """The directory and all files and directories below it."""
    yield directory
    yield from directory.rglob("*")


def open_to_others(directory: Path) -> list[str]:
    """What in the directory is not 0700 (directories) or 0600 (files)."""
    wanted = {True: 0o700, False: 0o600}
    return [
        f"{path} {stat.S_IMODE(path.stat().st_mode):o}"
        for path in everything_in(directory)
        if stat.S_IMODE(path.stat().st_mode) != wanted[path.is_dir()]
    ]


def files_with(text: str, directory: Path) -> list[Path]:
    """The files in the directory that hold a text."""
    return [path for path in directory.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def staged_rows(run_dir: Path) -> pl.DataFrame:
    """What a run staged, in the order of its parts, but for where and when its files were written."""
    parts = sorted((run_dir / "staged").glob("*.parquet"))
    return pl.concat(pl.read_parquet(part) for part in parts).drop("source", "source_time")
