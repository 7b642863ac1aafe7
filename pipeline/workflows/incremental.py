"""Every night: of a directory, a glob or a prefix, only files with new contents are taken.

A file is known by its contents, wherever it lies and whatever it is called. A file is done once a run that
read it was delivered to its end: nothing pending, nothing failed, and no sale rejected for what time alone
fixes. Until then it is taken again, which costs time and nothing else, since the ledger knows what was sent.
A file that was named itself is always taken.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.core.errors import NothingNew
from pipeline.core.events import Emit, Notice
from pipeline.extract.storage import SourceFile, fingerprint, unchanged
from pipeline.staging.manifest import Manifest
from pipeline.staging.workdir import started_at

if TYPE_CHECKING:  # a dry run of files that are named needs no database, and a load no mapping
    from pipeline.loading.ledger.entries import SourceFile as Noted
    from pipeline.loading.ledger.ledger import SqlLedger
    from pipeline.mapping.language.load import LoadedMapping

RECENT: Final = timedelta(seconds=5)
"""A file written this recently is looked at twice, to see whether it grows."""
MOMENT_S: Final = 1.0
"""Between the two looks."""
BEGUN: Final = timedelta(minutes=10)
"""An empty file this young is taken for one that was just begun, and no error."""
MOST_NAMED: Final = 3
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
FIXED_BY_TIME: Final = ("transacted_at_future",)
"""Why sales are rejected that are good later, without any change to their file."""


@dataclass(frozen=True)
class Wanted:
    """Which of the files in a directory, under a prefix or of a glob are wanted.

    Attributes:
        all_files: Those that were imported before as well.
        since: Only those modified then or later; with tz. None for any.
        settle: Not those modified less than this ago: somebody may still be writing them.
    """

    all_files: bool = False
    since: datetime | None = None
    settle: timedelta = timedelta()


def choose(
    files: Sequence[SourceFile],
    lookups: Sequence[SourceFile],
    *,
    mapping: LoadedMapping,
    wanted: Wanted,
    ledger: Path | str,
    base_url: str | None = None,
    emit: Emit,
    sleep: Callable[[float], None] = time.sleep,
) -> list[SourceFile]:
    """The files to read, in their order.

    A mapping that reads several tables gets all files that are wanted, or none: which of them belong
    together only their rows could tell.

    Args:
        files: With transactions.
        lookups: Look-up tables among the sources.
        mapping: By which they will be read.
        wanted: Which ones.
        ledger: What was imported before; one that is not there yet knows nothing.
        base_url: Into which tenant; None for the only one that the ledger knows.
        emit: Is told what was left out.
        sleep: Waits so many seconds.

    Raises:
        NothingNew: Nothing is left.
    """
    now = datetime.now(UTC)
    found = [file for file in files if file.found]
    growing = _growing([*found, *(table for table in lookups if table.found)], wanted.settle, now, sleep)
    early = [file for file in found if _is_early(file, wanted.since)]
    rest = [file for file in found if file not in early and file.uri not in growing]
    named = [file for file in files if not file.found]
    noted = _noted([*named, *rest], ledger, base_url, lambda: recipe(mapping, lookups), emit)
    known = [] if wanted.all_files else [file for file in rest if file.uri in noted]
    together = bool(mapping.spec.source.tables)
    if together and len(known) < len(rest):
        known = []
    if growing and (together or growing & {table.uri for table in lookups}):
        rest = []
    told = list(_told(known, growing, early, wanted.since))
    taken = [file for file in files if not file.found or (file in rest and file not in known)]
    if not taken:
        raise NothingNew("Nothing new: " + "; ".join(text for _, text in told) + ".")
    for code, text in [*told, *_told_ahead(taken, now)]:
        emit(Notice(code, text[0].upper() + text[1:]))
    return [_dated(file, noted.get(file.uri), now) for file in taken]


def recipe(mapping: LoadedMapping, lookups: Iterable[SourceFile]) -> str:
    """Digest of what files are read by: the mapping and its look-up tables, 32 hexadecimal characters.

    Args:
        mapping: The mapping.
        lookups: The tables that came with the sources; those beside the mapping are found.
    """
    own = [
        SourceFile(str(mapping.path.parent / table.file), table.file, 0)
        for table in mapping.spec.lookups.values()
        if table.from_ == "mapping"
    ]
    digest = blake2b(mapping.digest.encode(), digest_size=16)
    for table in sorted([*own, *lookups], key=lambda file: file.uri):
        digest.update(fingerprint(table).encode())
    return digest.hexdigest()


def note(ledger: SqlLedger, manifest: Manifest, emit: Emit) -> None:
    """Note the files of a run as done, if the run was delivered to its end.

    Args:
        ledger: Keeps them.
        manifest: Knows them.
        emit: Is told which of them the next run takes again all the same.
    """
    from pipeline.loading.ledger.entries import SourceFile as Noted

    if manifest.run_id not in ledger.runs():
        return
    status = ledger.status(manifest.run_id)
    if status.pending or status.failed or status.in_doubt:
        return
    ledger.note_files(
        [
            Noted(
                source.uri,
                source.size,
                _nanoseconds(datetime.fromisoformat(written) if written else None),
                source.fingerprint,
                manifest.run_id,
                manifest.mapping["recipe"],
            )
            for source in manifest.sources
            for written in [source.written or source.modified]
            if not source.waiting
        ]
    )
    if waiting := [source.name for source in manifest.sources if source.waiting]:
        emit(
            Notice(
                "files_waiting",
                f"Taken again by the next run, since they hold sales from the future: {_named(waiting)}",
            )
        )


def _is_early(file: SourceFile, since: datetime | None) -> bool:
    return since is not None and file.modified is not None and file.modified < since


def _noted(
    files: Sequence[SourceFile],
    ledger: Path | str,
    base_url: str | None,
    recipe: Callable[[], str],
    emit: Emit,
) -> dict[str, Noted]:
    """What the ledger knows of the contents of files that the tenant got, by address; of others nothing.

    Args:
        files: The files.
        ledger: Where it is.
        base_url: The tenant.
        recipe: Gives what they are read by.
        emit: Is told where the ledger was of an older version.
    """
    if not files or (isinstance(ledger, Path) and not ledger.exists()):
        return {}
    from pipeline.loading.ledger.ledger import SqlLedger

    with SqlLedger(ledger, base_url) as opened:
        for sentence in opened.notices:
            emit(Notice("ledger", sentence))
        read_by = recipe()
        at_paths = opened.known_paths([file.uri for file in files], read_by)
        seen = {(each.path, each.size, each.modified_ns): each for each in at_paths}
        found = {file.uri: each for file in files if (each := _as_before(file, seen))}
        digests = {file.uri: fingerprint(file) for file in files if file.uri not in found}
        known = opened.known_files(list(digests.values()), read_by)
    return found | {uri: known[digest] for uri, digest in digests.items() if digest in known}


def _as_before(file: SourceFile, seen: Mapping[tuple[str, int, int], Noted]) -> Noted | None:
    """What is noted of a file that surely did not change, so that its contents need not be read; else None.

    Size and time can be set to what they were. The time of the last change to anything about a local file
    cannot, and an object store sets its objects' times itself.
    """
    if file.modified is None:
        return None
    noted = seen.get((file.uri, file.size, _nanoseconds(file.modified)))
    if noted is None or file.is_remote:
        return noted
    try:
        changed = datetime.fromtimestamp(Path(file.uri).stat().st_ctime, UTC)
    except OSError:
        return None
    read = started_at(noted.run_id)
    return noted if read is not None and changed < read else None


def _nanoseconds(moment: datetime | None) -> int:
    return 0 if moment is None else round(moment.timestamp() * 1e6) * 1000


def _growing(
    files: Sequence[SourceFile], settle: timedelta, now: datetime, sleep: Callable[[float], None]
) -> set[str]:
    """Addresses of the files that somebody seems to be writing."""
    ages = [(file, now - file.modified) for file in files if file.modified is not None]
    growing = {file.uri for file, age in ages if _is_unsettled(file, age, settle)}
    # An object store shows an object only once it is whole. A time in the future says nothing of the age.
    fresh = [
        file
        for file, age in ages
        if age < RECENT and file.uri not in growing and (not file.is_remote or age < -RECENT)
    ]
    if fresh:
        sleep(MOMENT_S)
    return growing | {file.uri for file in fresh if not unchanged(file)}


def _is_unsettled(file: SourceFile, age: timedelta, settle: timedelta) -> bool:
    """Whether a file is too young to be read; one from the future would be so for ever."""
    if not file.size and abs(age) < BEGUN:
        return True
    return age >= -RECENT and max(age, timedelta()) < settle


def _dated(file: SourceFile, noted: Noted | None, now: datetime) -> SourceFile:
    """The file with the time since when its contents are known.

    A copy or a touch makes old contents no newer. No time is after a time in the future.
    """
    known = EPOCH + timedelta(microseconds=noted.modified_ns // 1000) if noted and noted.modified_ns else None
    times = [time for time in (file.modified, known) if time is not None]
    since = min([*times, now]) if times else None
    return file if since == file.modified else replace(file, since=since)


def _told(
    known: Sequence[SourceFile], growing: Collection[str], early: Sequence[SourceFile], since: datetime | None
) -> Iterable[tuple[str, str]]:
    """Codes of notices, and what was left out, for people."""
    if growing:
        yield "files_growing", f"still being written and left alone: {_named(sorted(growing))}"
    if known:
        yield "files_known", f"{_files(known)} imported before; --all-files takes all again"
    if early and since is not None:
        yield "files_early", f"{_files(early)} last modified before {since.isoformat(timespec='seconds')}"


def _told_ahead(taken: Sequence[SourceFile], now: datetime) -> Iterable[tuple[str, str]]:
    ahead = [file.uri for file in taken if file.modified is not None and file.modified - now > RECENT]
    if ahead:
        yield (
            "files_ahead",
            f"read although their time lies in the future, so that a clock may be wrong: {_named(ahead)}",
        )


def _files(files: Sequence[SourceFile]) -> str:
    return "1 file was" if len(files) == 1 else f"{len(files):,} files were"


def _named(paths: Sequence[str]) -> str:
    names = [path.rpartition("/")[2] for path in paths]
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")
