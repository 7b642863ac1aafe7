"""Source files: finding them on local disks and in object stores, and reading their bytes.

A path and a URL such as `s3://bucket/key` are handled in the same way, by fsspec.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from glob import escape, glob, has_magic
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Final, cast

from pipeline.core.errors import SourceError
from pipeline.core.storage.compression import compression_of, unpacked
from pipeline.core.storage.file_formats import JSON_LINES, any_case
from pipeline.core.storage.file_systems import REMOTE, STORES, file_system, how_to_reach

if TYPE_CHECKING:
    import pyarrow.parquet as pq

LOOKED_AT: Final = 1 << 20
"""Bytes at the start of a file that can be looked at before they are read."""

HEADER_BYTES: Final = 1 << 16
"""Bytes that are read at a time where a header is all that is wanted."""

_AHEAD_BYTES: Final = 8 << 20
"""What is asked of a store at a time; drivers' own 50 MB are more than some runs may take in all."""


@dataclass(frozen=True)
class SourceFile:
    """One file of a source.

    Attributes:
        uri: Absolute path, or URL with its scheme; what the file is opened by.
        name: What people are shown: the path as they would write it.
        size: Bytes as stored, before any decompression.
        modified: When it was last written, UTC; None where the store does not say.
        found: Whether it was found in a directory, under a prefix or by a glob, and not named itself.
        since: Since when its contents are known, where that is another time than `modified`.
        order: Its place in the order in which files were named or found.
        etag: What the store says instead of a hash of its contents; empty where it says nothing.
    """

    uri: str
    name: str
    size: int
    modified: datetime | None = None
    found: bool = False
    since: datetime | None = None
    order: int = field(default=0, compare=False)
    etag: str = ""

    @property
    def written(self) -> datetime | None:
        """When its contents were written, as far as that is known; of two versions the later one counts."""
        return self.since or self.modified

    @property
    def is_remote(self) -> bool:
        """Whether the file is in an object store rather than on a local disk."""
        return REMOTE in self.uri


# ── Finding ─────────────────────────────────────────────────────────────────────────────────────────


def named_sources(sources: Iterable[str | Path]) -> list[str]:
    """The SOURCE arguments that a program gives, as the command line has them.

    Raises:
        SourceError: It is one name and no list, or something in it is no name of a file.
    """
    if isinstance(sources, str | bytes | os.PathLike):
        shown = os.fsdecode(sources)
        raise SourceError(
            f"the sources are one name ({shown}), expected a list of names", hint=f"Write [{shown!r}]."
        )
    return [_named(source) for source in sources]


def _named(source: str | Path) -> str:
    if not isinstance(source, str | Path):
        raise SourceError(f"{source!r} cannot be a source", hint="Name files as str or Path.")
    # Of two slashes, pathlib leaves one.
    if isinstance(source, Path) and str(source).partition(":/")[0] in STORES:
        raise SourceError(
            f"{source} is the address of an object store in a Path, which takes a slash out of it",
            hint="Give it as str.",
        )
    return str(source)


def find_sources(arguments: Sequence[str], globs: Sequence[str]) -> list[SourceFile]:
    """Find the files that are meant by the command line's SOURCE arguments.

    Args:
        arguments: Files, globs or URLs; or one directory (a path or a URL).
        globs: The mapping's own input globs, looked for in that directory.

    Returns:
        The files sorted by URI, each once however often it was named. At least one. Of those that were
        found rather than named, some may be empty; see `refuse_empty`.

    Raises:
        SourceError: Something named does not exist, is empty, or may not be read; a directory has no file
            that the globs match; or a directory is named beside other sources.
    """
    found: dict[str, SourceFile] = {}
    for argument in arguments:
        _check_address(argument)
        with _translated(argument):
            files = _find(argument, globs, alone=len(arguments) == 1)
        for file in files:
            key = file.uri if file.is_remote else os.path.realpath(file.uri)
            # A file that is named itself is always read, so naming it wins over finding it.
            if key not in found or not file.found:
                found[key] = file
    if not found:
        raise SourceError("no source was named", hint="Name files, globs or one directory.")
    ordered = [replace(file, order=order) for order, file in enumerate(found.values())]
    return sorted(ordered, key=lambda file: file.uri)


def is_directory(argument: str) -> bool:
    """Whether a SOURCE is a directory, or a prefix in a store.

    Raises:
        SourceError: The store cannot be asked.
    """
    with _translated(argument):
        filesystem, path = file_system(argument, SourceError)
        return bool(filesystem.isdir(path))


def _check_address(argument: str) -> None:
    if not argument:
        raise SourceError("a SOURCE is an empty text", hint="Is a variable of the shell not set?")
    scheme, remote, _ = argument.partition(REMOTE)
    if remote and scheme not in STORES and not Path(argument).exists():
        raise SourceError(
            f"{argument} is neither a local path nor the address of an object store",
            hint="Those begin with s3://, gs:// or az://; download anything else first.",
        )


def _find(argument: str, globs: Sequence[str], *, alone: bool) -> list[SourceFile]:
    filesystem, path = file_system(argument, SourceError)
    try:
        info = filesystem.info(path)
    except FileNotFoundError:
        if not has_magic(argument):
            raise
        files = _glob(filesystem, path, argument)
        if not files:
            raise SourceError(f"no file matches {argument}") from None
        return files
    if info["type"] != "directory":
        file = _source_file(info, argument)
        refuse_empty([file])
        return [file]
    if not alone:
        raise SourceError(
            f"{argument} is a directory beside other sources",
            hint="Name one directory alone, or only files and globs.",
        )
    # The directory's own name may have brackets.
    below = f"{escape(path.rstrip('/'))}/"
    files = [file for pattern in globs for file in _glob(filesystem, below + any_case(pattern), argument)]
    if not files:
        looked_for = ", ".join(globs) or "nothing, as the mapping names no input globs"
        raise SourceError(
            f"{argument} has no matching file; looked for: {looked_for}",
            hint="Name the files themselves, or set the globs under the mapping's inputs.",
        )
    return files


def _glob(filesystem: Any, pattern: str, argument: str) -> list[SourceFile]:
    if REMOTE in argument:
        infos = filesystem.glob(pattern, detail=True).values()
    else:
        # As shells do it: hidden files are left out, and links are followed. fsspec does neither.
        names = sorted(glob(pattern, recursive=True))  # noqa: PTH207 (pathlib yields hidden files)
        infos = [filesystem.info(name) for name in names if Path(name).exists()]
    files = [_source_file(info, argument, found=True) for info in infos if info["type"] == "file"]
    return [file for file in files if not PurePosixPath(file.uri).name.startswith(_OPEN_IN_EXCEL)]


_OPEN_IN_EXCEL: Final = "~$"
"""How the name of a file begins that Excel keeps beside a workbook while it is open."""


def _source_file(info: dict[str, Any], argument: str, *, found: bool = False) -> SourceFile:
    """The file that fsspec gives this information of."""
    scheme, remote, _ = argument.partition(REMOTE)
    if remote:
        name = uri = f"{scheme}{REMOTE}{info['name'].lstrip('/')}"
        # Each driver has a name of its own for the time of writing.
        modified = info.get("LastModified") or info.get("updated") or info.get("last_modified")
        modified = modified if isinstance(modified, datetime) else None
    else:
        uri = info["name"]
        name = uri if Path(argument).expanduser().is_absolute() else os.path.relpath(uri)
        modified = datetime.fromtimestamp(info["mtime"], tz=UTC)
        if not os.access(uri, os.R_OK):
            raise SourceError(f"{name} cannot be read: Permission denied")
    # Some drivers put it in quotes where one object is asked for, and not where many are.
    etag = str(info.get("ETag") or info.get("etag") or "").strip('"')
    return SourceFile(uri, name, info["size"], modified, found, etag=etag)


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """Turn what a file system raises into a SourceError; each cloud's driver has errors of its own."""
    is_remote = REMOTE in name
    try:
        yield
    except SourceError:
        raise
    except FileNotFoundError:
        if is_remote:
            raise SourceError(f"{name} does not exist, neither as an object nor as a prefix") from None
        raise SourceError(f"{name} does not exist", hint=f"Relative paths start at {Path.cwd()}.") from None
    except Exception as error:
        raise SourceError(
            f"{name} cannot be read: {getattr(error, 'strerror', None) or error}",
            hint=how_to_reach(name) if is_remote else "",
        ) from error


def is_json_lines(file: SourceFile) -> bool:
    """Whether a file is named as JSON lines are, compressed or not."""
    return not set(JSON_LINES).isdisjoint(PurePosixPath(file.uri.lower()).suffixes[-2:])


def refuse_empty(files: Iterable[SourceFile]) -> None:
    """Refuse files without a byte, except JSON lines, which need no header.

    Raises:
        SourceError: One is empty.
    """
    for file in files:
        if not file.size and not is_json_lines(file):
            raise SourceError(
                f"{file.name} is empty", hint="Did its export end, or is it still being copied?"
            )


_SAME_TIME: Final = timedelta(seconds=2)
"""Times of writing this close do not show an order: file systems round them, and a copy gets new ones."""


def in_order_written(files: Sequence[SourceFile]) -> list[int]:
    """The place of each file in the order in which they were written.

    That order goes by time of writing where this differs by more than two seconds, else by name, else by the
    order in which they were named.
    """
    earliest = datetime.min.replace(tzinfo=UTC)
    by_time = sorted(range(len(files)), key=lambda n: files[n].written or earliest)
    groups: dict[int, datetime] = {}
    group = earliest
    for n in by_time:
        written = files[n].written or earliest
        group = written if written - group > _SAME_TIME else group
        groups[n] = group
    order = sorted(by_time, key=lambda n: (groups[n], PurePosixPath(files[n].uri).name, files[n].order))
    return [place for _, place in sorted(zip(order, range(len(files)), strict=True))]


def unchanged(file: SourceFile) -> bool:
    """Whether a file still has the size, the time and the ETag of when it was found.

    Most stores give times in whole seconds, so that alone a second version would not show in them.

    Raises:
        SourceError: The store cannot be asked.
    """
    filesystem, path = file_system(file.uri, SourceError)
    with _translated(file.name):
        # fsspec caches earlier answers, and the file may have changed since.
        filesystem.invalidate_cache()
        try:
            now = _source_file(filesystem.info(path), file.uri)
        except FileNotFoundError:
            return False
        return (now.size, now.modified, now.etag) == (file.size, file.modified, file.etag)


# ── Reading ─────────────────────────────────────────────────────────────────────────────────────────


def open_raw(file: SourceFile, *, ahead: bool = True) -> SourceStream:
    """Open a file's bytes as stored, seekable.

    Args:
        file: The file.
        ahead: Whether all of it will be read: a store is then asked for more than is read next.

    Raises:
        SourceError: It does not exist any more, or may not be read.
    """
    with _translated(file.name):
        raw = _Raw(_opened(file, ahead=ahead))
        # Everything that is read from the middle of an object, or to look at it only, is a request.
        buffered = LOOKED_AT if ahead or not file.is_remote else HEADER_BYTES
        return SourceStream(raw, lambda: raw.fingerprint(file.size), buffered)


def open_part(file: SourceFile, start: int, end: int) -> SourceStream:
    """Open the bytes of a file from `start` to `end`; of a store, no others are fetched.

    Raises:
        SourceError: It does not exist any more, or may not be read.
    """
    with _translated(file.name):
        return SourceStream(_Raw(_opened(file, ahead=False), span=(start, end)), lambda: None, HEADER_BYTES)


def _opened(file: SourceFile, *, ahead: bool = True) -> Any:
    filesystem, path = file_system(file.uri, SourceError)
    options: dict[str, Any] = {}
    if file.is_remote:
        options = {"block_size": _AHEAD_BYTES} if ahead else {"cache_type": "none"}
    return filesystem.open(path, "rb", **options)


def open_parquet(file: SourceFile) -> pq.ParquetFile:
    """Open a Parquet file; in a store, only the bytes that are asked for are fetched.

    Raises:
        SourceError: It does not exist any more, or may not be read.
        ArrowInvalid: It is not Parquet.
    """
    import pyarrow.parquet as pq

    if not file.is_remote:
        return pq.ParquetFile(file.uri)
    # Reading ahead would fetch what lies between the columns again and again.
    return pq.ParquetFile(open_raw(file, ahead=False), pre_buffer=True)


def open_text(file: SourceFile, stored: SourceStream | None = None) -> SourceStream:
    """Open a file's bytes after decompression (gzip, zstd, bzip2, zip of one file), streamed.

    Up to LOOKED_AT bytes can be looked at first, by `peek`.

    Args:
        file: The file.
        stored: Its bytes as stored, where they are open already; they are closed with the text.

    Raises:
        SourceError: It cannot be read, or is an archive of none or of several files.
    """
    stored = stored or open_raw(file)
    try:
        with _translated(file.name):
            compression = compression_of(stored.peek(4))
            if compression is None:
                return stored
            text = SourceStream(
                _Raw(unpacked(stored, compression, file.name), stored), lambda: stored.fingerprint
            )
            try:
                # Reading the first bytes shows a damaged archive here, not later.
                text.peek()
            except OSError as error:
                raise SourceError(
                    f"{file.name} cannot be unpacked ({compression}): {error}",
                    hint="It is cut short or damaged: is it still being copied?",
                ) from error
            return text
    except BaseException:
        stored.close()
        raise


def fingerprint(file: SourceFile) -> str:
    """Tell a file's content apart from any other's: its size and the SHA-256 hash of its stored bytes.

    Returns:
        `<size>-<hash>`, the hash in hex. A renamed copy has the same fingerprint.
    """
    # SHA-256, since processors compute it themselves, and people can with `sha256sum`.
    with _translated(file.name), _opened(file) as stream:
        return f"{file.size}-{hashlib.file_digest(stream, 'sha256').hexdigest()}"


class SourceStream(io.BufferedReader):
    """The bytes of a file, as stored or unpacked.

    Args:
        raw: Gives them.
        fingerprint: Gives that of the file, if all of it was read.
        buffered: Bytes that are read at least.
    """

    def __init__(
        self, raw: io.RawIOBase, fingerprint: Callable[[], str | None], buffered: int = LOOKED_AT
    ) -> None:
        super().__init__(raw, buffered)
        self._fingerprint = fingerprint

    @property
    def fingerprint(self) -> str | None:
        """See `fingerprint`; None unless all stored bytes were read, from the first to the last."""
        return self._fingerprint()


class _Raw(io.RawIOBase):
    """A stream in which whatever a driver raises is the OSError that readers expect.

    What is read is hashed on the way, so that a file need not be read once more for its fingerprint.

    Args:
        opened: What is read.
        below: What `opened` reads from, to be closed with it.
        span: The bytes that are read, from the first to that behind the last; None for all.
    """

    def __init__(self, opened: IO[bytes], *below: IO[bytes], span: tuple[int, int] | None = None) -> None:
        self._opened = cast("io.RawIOBase", opened)
        self._end = span[1] if span else None
        if span:
            self._opened.seek(span[0])
        self._below = below
        self._hash = None if below or span else hashlib.sha256()
        self._hashed = 0

    def fingerprint(self, size: int) -> str | None:
        """That of a file of this size, if so many bytes were read, one after the other."""
        if not self._hash or self._hashed != size:
            return None
        return f"{size}-{self._hash.hexdigest()}"

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return not self._below

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._hash = None
        # The hash is only that of the file if all bytes are read in order.
        return self._opened.seek(offset, whence)

    def tell(self) -> int:
        return self._opened.tell()

    def readinto(self, buffer: Any) -> int:
        if self._end is not None:
            buffer = memoryview(buffer)[: max(0, self._end - self._opened.tell())]
        try:
            read = self._opened.readinto(buffer) or 0
        except OSError:
            raise
        except Exception as error:
            raise OSError(str(error)) from error
        if self._hash:
            self._hash.update(memoryview(buffer)[:read])
            self._hashed += read
        return read

    def close(self) -> None:
        if not self.closed:
            self._opened.close()
            for stream in self._below:
                stream.close()
        super().close()
