"""The record of a run: enough to say years later what was imported, from which files, by which rules."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.core.errors import RunError
from pipeline.core.storage.files import write_private
from pipeline.staging.workdir import RunDir

FORMAT = 1


@dataclass(frozen=True)
class SourceRecord:
    """A file that was read.

    Attributes:
        name: As given.
        table: The mapping's table that it is part of.
        size: In bytes, as stored.
        rows: Rows that it holds.
        modified: ISO time, or an empty text where the storage has none.
        fingerprint: Size and SHA-256 of the content.
        uri: Absolute path, or URL.
        written: ISO time since when its contents are known; an empty text as `modified`.
        waiting: It holds sales that were rejected only for what time alone fixes, and is to be read again.
    """

    name: str
    table: str
    size: int
    rows: int
    modified: str
    fingerprint: str
    uri: str
    written: str = ""
    waiting: bool = False


@dataclass(frozen=True)
class PartRecord:
    """A staged part: its file under `staged/`, transactions, bytes of bodies, SHA-256 of the file."""

    file: str
    transactions: int
    body_bytes: int
    fingerprint: str


@dataclass(frozen=True)
class Manifest:
    """The immutable record of a staged run.

    Attributes:
        run_id: Its id.
        created_at: When it was prepared, ISO, UTC.
        mapping: Name, path and BLAKE2b (`digest`) of the mapping file; `recipe` covers its tables too.
        mapping_text: The mapping itself.
        sources: The files.
        parts: The staged parts.
        versions: Of the product and of the libraries that shape the output.
        summary: The summary of `prepare`, as in the contract.
        forgotten: Transactions whose contents were removed since, for their customers' sake.
        ordinal: Orders runs, whatever the clock said: higher than that of every run that was there before.
    """

    run_id: str
    created_at: str
    mapping: dict[str, str]
    mapping_text: str
    sources: tuple[SourceRecord, ...]
    parts: tuple[PartRecord, ...]
    versions: dict[str, str]
    summary: dict[str, Any]
    format: int = FORMAT
    forgotten: int = 0
    ordinal: int = 0

    def __post_init__(self) -> None:
        # Manifests of older versions have no ordinal.
        if not self.ordinal:
            object.__setattr__(self, "ordinal", microseconds(datetime.fromisoformat(self.created_at)))

    @property
    def transactions(self) -> int:
        """How many are staged."""
        return sum(part.transactions for part in self.parts)

    @property
    def body_bytes(self) -> int:
        """How many bytes their bodies have."""
        return sum(part.body_bytes for part in self.parts)


def is_same_mapping(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether two manifests' `mapping` is the same one: by its path or its text, or it was moved since.

    Args:
        one: Of the earlier run.
        other: Of the later run.
    """
    # A file that still exists at the old path is another mapping with the same name.
    is_moved = one["name"] == other["name"] and not Path(one["path"]).exists()
    return one["path"] == other["path"] or one["digest"] == other["digest"] or is_moved


def microseconds(when: datetime) -> int:
    """Since 1970; exact, unlike a float."""
    return (when - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def next_ordinal(others: Iterable[RunDir], now: datetime) -> int:
    """The ordinal of a new run: the time, unless a clock that was set back would put it before another.

    Args:
        others: The runs that exist; those that cannot be read do not count.
        now: The time, with tz.
    """
    highest = 0
    for run in others:
        with suppress(RunError):
            highest = max(highest, read_manifest(run).ordinal)
    return max(microseconds(now), highest + 1)


def write_manifest(run: RunDir, manifest: Manifest) -> None:
    """Write the manifest; the run counts as prepared from then on."""
    write_private(run.manifest, json.dumps(asdict(manifest), indent=2, ensure_ascii=False) + "\n")


def read_manifest(run: RunDir) -> Manifest:
    """Read the manifest of a run.

    Raises:
        RunError: It is damaged, or was written by a newer version.
    """
    try:
        return manifest_in(run.manifest.read_bytes(), run.run_id)
    except OSError as error:
        raise RunError(f"The manifest of run {run.run_id} cannot be read: {error}.") from None


def manifest_in(content: bytes, run_id: str) -> Manifest:
    """The manifest of a run that is in this content of its file.

    Raises:
        RunError: It is damaged, or was written by a newer version.
    """
    try:
        raw = json.loads(content)
        if raw["format"] > FORMAT:
            raise RunError(f"Run {run_id} was prepared by a newer version.", hint="Upgrade omneo-import.")
        raw["sources"] = tuple(SourceRecord(**source) for source in raw["sources"])
        raw["parts"] = tuple(PartRecord(**part) for part in raw["parts"])
        return Manifest(**raw)
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"The manifest of run {run_id} cannot be read: {error}.") from None
