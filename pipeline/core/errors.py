"""Every error that the product raises on purpose, grouped by what its reader should do.

    ImportToolError                     exit code 1, never raised itself
    ├── CannotStart                     2   fix the call, the settings, the mapping or the source
    │   ├── SettingsError                   an option, an environment variable, a token
    │   ├── MappingError                    one or more problems in a mapping file, all reported at once
    │   ├── SourceError                     an input that cannot be read
    │   └── RunError                        no such run, or a run in the wrong state
    ├── GateClosed                      3   too much was rejected; read the report
    ├── StoppedByApi                    5   the tenant refused, or was away too long; `load` goes on
    ├── WorkdirBusy                     6   another process holds the working directory
    └── NothingNew                      0   not an error: every file was imported before

A message says what is wrong and where, what was expected, and how to fix it. Bad *rows* are never
errors: they become quarantine. Exit codes are those of the command line's contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from pipeline.core.text.header_names import as_latin, odd_letters


class ImportToolError(Exception):
    """Base of all errors that the user sees as one clear message.

    Args:
        message: What is wrong and what was expected, in one sentence.
        hint: How to fix it, a sentence after the message; empty where the message says it all.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        if not self.hint:
            return self.message
        if "\n" in self.message:
            return f"{self.message}\n  {self.hint}"
        return f"{self.message}{'' if self.message.endswith(('.', '?')) else '.'} {self.hint}"


class CannotStart(ImportToolError):
    """Usage, settings, mapping or source cannot be used; nothing was sent."""

    exit_code = 2


class SettingsError(CannotStart):
    """An option, an environment variable, the token or the working directory cannot be used."""


class SourceError(CannotStart):
    """An input cannot be read at all: missing, empty, of another format, or without a needed column."""


class RunError(CannotStart):
    """There is no such run, or the run is not in a state in which the command makes sense."""


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong in a mapping file.

    Attributes:
        path: The mapping file.
        line: 1-based line.
        column: 1-based column.
        message: What is wrong, what was expected, and the nearest valid name where there is one.
    """

    path: Path
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.message}"


class MappingError(CannotStart):
    """A mapping file has problems; all of them are reported at once, one a line."""

    def __init__(self, problems: Sequence[Problem], *, hint: str = "") -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(map(str, self.problems)), hint=hint)


class GateClosed(ImportToolError):
    """More was rejected than the gate allows; nothing was sent."""

    exit_code = 3


class ReactionsHeld(ImportToolError):
    """Old sales would run active triggers in Omneo, and that was not agreed to; nothing was sent."""

    exit_code = 3


class StoppedByApi(ImportToolError):
    """Omneo refused the token, or was away for longer than `--give-up-after`."""

    exit_code = 5


class WorkdirBusy(ImportToolError):
    """Another process holds the working directory."""

    exit_code = 6


class NothingNew(ImportToolError):
    """Not an error: no file of a directory, a glob or a prefix is new or changed."""

    exit_code = 0


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest of `known`, or an empty string.

    Letter case is ignored when comparing, since that is the commonest slip.
    """
    by_fold = {name.casefold(): name for name in known}
    near = get_close_matches(word.casefold(), by_fold, n=1, cutoff=0.6)
    if not near:
        return ""
    looks_alike = as_latin(word).casefold() == near[0] != word.casefold()
    odd = f" The name as written contains {odd_letters(word)}" if looks_alike else ""
    return f"; did you mean '{by_fold[near[0]]}'?{odd}"
