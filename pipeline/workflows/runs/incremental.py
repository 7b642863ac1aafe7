"""Incremental runs: of a directory, a glob or a prefix, only files with new contents are read.

A file is known by its contents, whatever its path and name. It is complete once a run that read it was
delivered to its end: nothing pending, nothing failed, and no sale rejected for what time alone fixes. Until
then it is read again, which costs time only, since the ledger knows what was sent. A file that was named
itself is always read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.core.errors import NothingNew
from pipeline.core.events import Emit, Notice
from pipeline.core.text.wording import count, first_of
from pipeline.extract.source_files import SourceFile, fingerprint, unchanged
from pipeline.staging.manifest import Manifest, microseconds
from pipeline.staging.workdir import started_at

# Not imported at run time: a dry run of named files needs no database, and a load no mapping.
if TYPE_CHECKING:
    from pipeline.loading.ledger.entries import ImportedFile
    from pipeline.loading.ledger.ledger import SqlLedger
    from pipeline.mapping.language.mapping_file import LoadedMapping

RECENT: Final = timedelta(seconds=5)
"""A file written this recently is looked at twice, to see whether it grows. Clocks may differ by as much."""
BETWEEN_LOOKS_S: Final = 1.0
BEGUN: Final = timedelta(minutes=10)
"""An empty file this young is taken for one that was just begun, and no error."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class FileSelection:
    """Which of the files in a directory, under a prefix or of a glob are read.

    Attributes:
        all_files: Those that were imported before as well.
        since: Only those modified then or later; with tz. None for any.
        settle: Not those modified less than this ago: they may still be written.
    """

    all_files: bool = False
    since: datetime | None = None
    settle: timedelta = timedelta()


def choose_files(
    files: Sequence[SourceFile],
    lookups: Sequence[SourceFile],
    *,
    mapping: LoadedMapping,
    selection: FileSelection,
    ledger: Path | str,
    base_url: str | None = None,
    emit: Emit,
    sleep: Callable[[float], None] = time.sleep,
) -> list[SourceFile]:
    """The files to read, in their order.

    A mapping that reads several tables gets all files that are selected, or none: which of them belong
    together only their rows could tell.

    Args:
        files: With transactions.
        lookups: Look-up tables among the sources.
        mapping: By which they will be read.
        selection: Which ones.
        ledger: What was imported before; one that does not exist yet knows nothing.
        base_url: Into which tenant; None for the only one that the ledger knows.
        emit: Gets notices about what was left out.
        sleep: Waits so many seconds.

    Raises:
        NothingNew: Nothing is left.
    """
    now = datetime.now(UTC)
    since = selection.since
    found = [file for file in files if file.found]
    growing = _growing([*found, *(table for table in lookups if table.found)], selection.settle, now, sleep)
    early = [file for file in found if since and file.modified and file.modified < since]
    rest = [file for file in found if file not in early and file.uri not in growing]
    named = [file for file in files if not file.found]
    imported = _imported(
        [*named, *rest], ledger, base_url, lambda: mapping_fingerprint(mapping, lookups), emit
    )
    known = [] if selection.all_files else [file for file in rest if file.uri in imported]
    together = bool(mapping.spec.source.tables)
    if together and len(known) < len(rest):
        known = []
    if growing and (together or growing & {table.uri for table in lookups}):
        rest = []
    left = {file.uri for file in rest} - {file.uri for file in known}
    taken = [file for file in files if not file.found or file.uri in left]
    notices = {}
    if growing:
        notices["files_growing"] = f"still being written and left alone: {_named(sorted(growing))}"
    if known:
        notices["files_known"] = (
            f"{count(len(known), 'file', 'was')} imported before; --all-files takes all again"
        )
    if early and since:
        notices["files_early"] = (
            f"{count(len(early), 'file', 'was')} last modified before {since.isoformat(timespec='seconds')}"
        )
    if not taken:
        raise NothingNew(f"Nothing new: {'; '.join(notices.values())}.")
    if ahead := [file.uri for file in taken if file.modified is not None and file.modified - now > RECENT]:
        notices["files_ahead"] = (
            f"read although their time lies in the future, so that a clock may be wrong: {_named(ahead)}"
        )
    for code, text in notices.items():
        emit(Notice(code, text[0].upper() + text[1:]))
    return [_with_first_time(file, imported.get(file.uri), now) for file in taken]


def mapping_fingerprint(mapping: LoadedMapping, lookups: Iterable[SourceFile]) -> str:
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


def note_completed(ledger: SqlLedger, manifest: Manifest, emit: Emit) -> None:
    """Note the files of a run as complete, if the run was delivered to its end.

    Args:
        ledger: Keeps them.
        manifest: Knows them.
        emit: Gets a notice about those that the next run reads again all the same.
    """
    from pipeline.loading.ledger.entries import ImportedFile

    if manifest.run_id not in ledger.runs():
        return
    if not _delivered_to_its_end(ledger, manifest):
        return
    ledger.files.note(
        [
            ImportedFile(
                path=source.uri,
                size=source.size,
                modified_ns=_nanoseconds(datetime.fromisoformat(written) if written else None),
                digest=source.fingerprint,
                run_id=manifest.run_id,
                recipe=manifest.mapping["recipe"],
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


def _delivered_to_its_end(ledger: SqlLedger, manifest: Manifest) -> bool:
    status = ledger.status(manifest.run_id)
    return not (status.pending or status.failed or status.in_doubt)


def imported_by(ledger: SqlLedger, manifest: Manifest, others: Iterable[Manifest] = ()) -> str:
    """The last of the later runs that delivered all files of a run to their end; empty where none is left.

    Args:
        ledger: Keeps the files that are complete.
        manifest: The run.
        others: Runs whose files may be left incomplete only by sales from the future: whatever else was in
            these files is delivered.
    """
    later: dict[str, str] = {}
    known = ledger.runs()
    for other in others:
        if other.run_id > manifest.run_id and other.run_id in known and _delivered_to_its_end(ledger, other):
            later |= {source.fingerprint: other.run_id for source in other.sources if source.waiting}
    for file in ledger.files.with_digests([source.fingerprint for source in manifest.sources]):
        # Ids of runs sort by time.
        if file.run_id > manifest.run_id:
            later[file.digest] = max(file.run_id, later.get(file.digest, ""))
    own = {source.fingerprint for source in manifest.sources}
    return max((later[each] for each in own), default="") if own <= later.keys() else ""


def _imported(
    files: Sequence[SourceFile],
    ledger: Path | str,
    base_url: str | None,
    read_by: Callable[[], str],
    emit: Emit,
) -> dict[str, ImportedFile]:
    """By address, what the ledger knows of the files whose contents the tenant has; others are left out.

    Args:
        files: The files.
        ledger: Where it is.
        base_url: The tenant.
        read_by: Gives the fingerprint of the mapping; computed only if it is needed.
        emit: Gets a notice if the ledger was of an older version.
    """
    if not files or (isinstance(ledger, Path) and not ledger.exists()):
        return {}
    from pipeline.loading.ledger.ledger import SqlLedger

    with SqlLedger(ledger, base_url) as opened:
        for sentence in opened.notices:
            emit(Notice("ledger", sentence))
        recipe = read_by()
        at_paths = opened.files.by_path([file.uri for file in files], recipe)
        before = {(each.path, each.size, each.modified_ns): each for each in at_paths}
        noted = {file.uri: before.get((file.uri, file.size, _nanoseconds(file.modified))) for file in files}
        found = {file.uri: each for file in files if (each := noted[file.uri]) and _is_untouched(file, each)}
        # Only files that are not known by their place have to be read to be known by their contents, and of
        # those only the ones as large as one that is known: new files seldom are.
        rest = [file for file in files if file.uri not in found]
        sizes = {each.size for each in opened.files.with_sizes([file.size for file in rest], recipe)}
        digests = {file.uri: fingerprint(file) for file in rest if file.size in sizes}
        known = opened.files.by_digest(list(digests.values()), recipe)
    return found | {uri: known[digest] for uri, digest in digests.items() if digest in known}


def _is_untouched(file: SourceFile, noted: ImportedFile) -> bool:
    """Whether a file surely did not change since it was read, so that its contents need not be compared.

    Its size and time are those that were noted, but both can be set to what they were. The time of the last
    change to anything about a local file cannot, and an object store sets its objects' times itself.
    """
    if file.modified is None:
        return False
    if file.is_remote:
        return True
    try:
        changed = datetime.fromtimestamp(Path(file.uri).stat().st_ctime, UTC)
    except OSError:
        return False
    read = started_at(noted.run_id)
    return read is not None and changed < read


def _nanoseconds(when: datetime | None) -> int:
    return 0 if when is None else microseconds(when) * 1000


def _growing(
    files: Sequence[SourceFile], settle: timedelta, now: datetime, sleep: Callable[[float], None]
) -> set[str]:
    """Addresses of the files that seem to be written right now."""
    growing, fresh = set(), []
    for file in files:
        if file.modified is None:
            continue
        age = now - file.modified
        # A time in the future says nothing of the age; such a file would be too young for ever.
        is_young = age >= -RECENT and max(age, timedelta()) < settle
        if is_young or (not file.size and abs(age) < BEGUN):
            growing.add(file.uri)
        # An object store shows an object only once it is whole.
        elif age < RECENT and (not file.is_remote or age < -RECENT):
            fresh.append(file)
    if fresh:
        sleep(BETWEEN_LOOKS_S)
    return growing | {file.uri for file in fresh if not unchanged(file)}


def _with_first_time(file: SourceFile, imported: ImportedFile | None, now: datetime) -> SourceFile:
    """The file with the time since when its contents are known: a copy or a touch makes them no newer.

    No time is after a time in the future.
    """
    if imported and imported.modified_ns:
        known = EPOCH + timedelta(microseconds=imported.modified_ns // 1000)
        times = [known, file.modified or known]
    elif file.modified is None:
        return file
    else:
        times = [file.modified]
    since = min(*times, now)
    return file if since == file.modified else replace(file, since=since)


def _named(paths: Sequence[str]) -> str:
    return first_of([path.rpartition("/")[2] for path in paths])
