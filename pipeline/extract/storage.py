"""Where sources are: local files, globs, directories and object stores, and how their bytes are read.

Local paths need nothing but the standard library. A URL such as `s3://bucket/key` goes through fsspec,
which finds its credentials by each cloud's usual means; fsspec and the clouds' drivers are extras.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from glob import glob, has_magic
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, Literal, cast

from pipeline.core.errors import SourceError
from pipeline.core.object_stores import REMOTE, file_system

_CHUNK: Final = 4 << 20
_STORES: Final = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory")

Compression = Literal["gzip", "zstd", "bz2", "zip"]
_MAGIC: Final[tuple[tuple[bytes, Compression], ...]] = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bz2"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
)


@dataclass(frozen=True)
class SourceFile:
    """One input file.

    Attributes:
        uri: Absolute path, or URL with its scheme; what the file is opened by.
        name: What people are shown: the path as they would write it.
        size: Bytes as stored, before any decompression.
        modified: When it was last written, UTC; None where the store does not say.
        found: Whether it was found in a directory, under a prefix or by a glob, and not named itself.
        since: Since when its contents are known, where that is another time than `modified`.
        order: Its place in the order in which files were named or found.
    """

    uri: str
    name: str
    size: int
    modified: datetime | None = None
    found: bool = False
    since: datetime | None = None
    order: int = field(default=0, compare=False)

    @property
    def written(self) -> datetime | None:
        """When its contents were written, as far as that is known; of two versions the later one counts."""
        return self.since or self.modified

    @property
    def is_remote(self) -> bool:
        """Whether the file lies in an object store rather than on a local disk."""
        return REMOTE in self.uri


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
        look = _find_remote if REMOTE in argument else _find_local
        for file in look(argument, globs, len(arguments) == 1):
            key = file.uri if file.is_remote else os.path.realpath(file.uri)
            if key not in found or not file.found:
                found[key] = file
    if not found:
        raise SourceError("no source was named", hint="Name files, globs or one directory.")
    ordered = [replace(file, order=order) for order, file in enumerate(found.values())]
    return sorted(ordered, key=lambda file: file.uri)


_SAME_TIME: Final = timedelta(seconds=2)
"""Times of writing that are no further apart say nothing: file systems round them, copying sets them anew."""


def in_order_written(files: Sequence[SourceFile]) -> list[int]:
    """The place of each file in the order in which they were written.

    That order goes by time of writing where this differs by more than two seconds, else by name, else by the
    order in which they were named.
    """
    earliest = datetime.min.replace(tzinfo=UTC)
    by_time = sorted(range(len(files)), key=lambda n: files[n].written or earliest)
    moments: dict[int, datetime] = {}
    moment = earliest
    for n in by_time:
        written = files[n].written or earliest
        moment = written if written - moment > _SAME_TIME else moment
        moments[n] = moment
    order = sorted(by_time, key=lambda n: (moments[n], PurePosixPath(files[n].uri).name, files[n].order))
    return [place for _, place in sorted(zip(order, range(len(files)), strict=True))]


def _check_address(argument: str) -> None:
    if not argument:
        raise SourceError("a SOURCE is an empty text", hint="Is a variable of the shell not set?")
    scheme, remote, _ = argument.partition(REMOTE)
    if remote and scheme not in _STORES and not Path(argument).exists():
        raise SourceError(
            f"{argument} is neither a local path nor the address of an object store",
            hint="Those begin with s3://, gs:// or az://; download anything else first.",
        )


def is_json_lines(file: SourceFile) -> bool:
    """Whether a file is named as JSON lines are, compressed or not."""
    return not {".jsonl", ".ndjson"}.isdisjoint(PurePosixPath(file.uri.lower()).suffixes[-2:])


def refuse_empty(files: Iterable[SourceFile]) -> None:
    """See to it that every file holds something, but JSON lines, which need no header.

    Raises:
        SourceError: One is empty.
    """
    for file in files:
        if not file.size and not is_json_lines(file):
            raise SourceError(f"{file.name} is empty")


def _find_local(argument: str, globs: Sequence[str], alone: bool) -> list[SourceFile]:
    path = Path(argument).expanduser()
    if path.is_dir():
        return _in_directory(argument, globs, alone, lambda pattern: _glob(path / pattern))
    if path.exists() or not has_magic(argument):
        return [_local_file(path)]
    files = _glob(path)
    if not files:
        raise SourceError(f"no file matches {argument}")
    return files


def _in_directory(
    argument: str, globs: Sequence[str], alone: bool, look: Callable[[str], list[SourceFile]]
) -> list[SourceFile]:
    if not alone:
        raise SourceError(
            f"{argument} is a directory beside other sources",
            hint="Name one directory alone, or only files and globs.",
        )
    files = [file for pattern in globs for file in look(pattern)]
    if not files:
        looked_for = ", ".join(globs) or "nothing, as the mapping names no input globs"
        raise SourceError(
            f"{argument} has no matching file; looked for: {looked_for}",
            hint="Name the files themselves, or set the globs under the mapping's inputs.",
        )
    return files


def _glob(pattern: Path) -> list[SourceFile]:
    # The glob module knows absolute patterns and leaves hidden files out, as shells do; Path.glob does not.
    names = sorted(glob(str(pattern), recursive=True))  # noqa: PTH207
    return [_local_file(Path(name), found=True) for name in names if Path(name).is_file()]


def _local_file(path: Path, *, found: bool = False) -> SourceFile:
    try:
        stat = path.stat()
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise SourceError(f"{path} does not exist", hint=f"Relative paths start at {Path.cwd()}.") from None
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    modified = datetime.fromtimestamp(stat.st_mtime, tz=UTC)
    file = SourceFile(str(path.absolute()), str(path), stat.st_size, modified, found)
    if not found:
        refuse_empty([file])
    return file


def _find_remote(argument: str, globs: Sequence[str], alone: bool) -> list[SourceFile]:
    filesystem, path = file_system(argument, SourceError)
    scheme = argument.split(REMOTE, 1)[0]

    def look(pattern: str) -> list[SourceFile]:
        found = filesystem.glob(pattern, detail=True)
        return [_remote_file(scheme, info, found=True) for info in found.values() if info["type"] == "file"]

    with _translated(argument):
        if has_magic(path):
            files = look(path)
        elif filesystem.isfile(path):
            files = [_remote_file(scheme, filesystem.info(path))]
        elif filesystem.isdir(path):
            return _in_directory(
                argument, globs, alone, lambda pattern: look(f"{path.rstrip('/')}/{pattern}")
            )
        else:
            raise SourceError(f"{argument} does not exist, neither as an object nor as a prefix")
    if not files:
        raise SourceError(f"no file matches {argument}")
    return files


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """Each cloud's driver has errors of its own, for missing credentials too: all mean the same here."""
    try:
        yield
    except SourceError:
        raise
    except Exception as error:
        raise SourceError(
            f"{name} cannot be read: {error}",
            hint="Check its address, and the credentials that the cloud's own tools would use.",
        ) from error


def _remote_file(scheme: str, info: dict[str, Any], *, found: bool = False) -> SourceFile:
    uri = f"{scheme}{REMOTE}{info['name'].lstrip('/')}"
    modified = info.get("LastModified") or info.get("updated") or info.get("last_modified")
    when = modified if isinstance(modified, datetime) else None
    file = SourceFile(uri, uri, info["size"], when, found)
    if not found:
        refuse_empty([file])
    return file


def open_raw(file: SourceFile) -> IO[bytes]:
    """Open a file's bytes as stored, seekable.

    Raises:
        SourceError: It has gone, or may not be read.
    """
    try:
        if file.is_remote:
            return _open_remote(file)
        return Path(file.uri).open("rb", buffering=0)
    except OSError as error:
        raise SourceError(f"{file.name} cannot be read: {error.strerror or error}") from error


def _open_remote(file: SourceFile) -> IO[bytes]:
    filesystem, path = file_system(file.uri, SourceError)
    with _translated(file.name):
        return cast("IO[bytes]", _Remote(filesystem.open(path, "rb")))


class _Remote(io.RawIOBase):
    """An object's bytes; whatever a cloud's driver raises becomes the OSError that readers expect."""

    def __init__(self, stored: IO[bytes]) -> None:
        self._stored = stored

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stored.seek(offset, whence)

    def tell(self) -> int:
        return self._stored.tell()

    def read(self, size: int = -1) -> bytes:
        try:
            return self._stored.read(size)
        except Exception as error:
            raise OSError(str(error)) from error

    def close(self) -> None:
        if not self.closed:
            self._stored.close()
        super().close()


def unchanged(file: SourceFile) -> bool:
    """Whether a file, or an object in a store, still has the size and the time of when it was found.

    Raises:
        SourceError: The store cannot be asked.
    """
    if file.is_remote:
        return _is_as_found(file)
    try:
        stat = Path(file.uri).stat()
    except FileNotFoundError:
        return False
    return stat.st_size == file.size and (
        file.modified is None or datetime.fromtimestamp(stat.st_mtime, UTC) == file.modified
    )


def _is_as_found(file: SourceFile) -> bool:
    filesystem, path = file_system(file.uri, SourceError)
    with _translated(file.name):
        filesystem.invalidate_cache()
        if not filesystem.exists(path):
            return False
        now = _remote_file(file.uri.split(REMOTE, 1)[0], filesystem.info(path), found=True)
        return (now.size, now.modified) == (file.size, file.modified)


def fingerprint(file: SourceFile) -> str:
    """Tell a file's content apart from any other's: its size and the SHA-256 hash of its stored bytes.

    Returns:
        `<size>-<hash>`, the hash in hex. A renamed copy has the same fingerprint.
    """
    # Processors compute SHA-256 themselves, and people can with `sha256sum`.
    digest = hashlib.sha256()
    with open_raw(file) as stream:
        for chunk in _chunks(stream, _CHUNK):
            digest.update(chunk)
    return f"{file.size}-{digest.hexdigest()}"


def _chunks(stream: IO[bytes], size: int) -> Iterator[bytes]:
    while chunk := stream.read(size):
        yield chunk


def compression_of(head: bytes) -> Compression | None:
    """The compression that a file's first bytes tell of; a suffix may lie, the bytes do not."""
    return next((name for magic, name in _MAGIC if head.startswith(magic)), None)


class _Unpacked(io.RawIOBase):
    """A decompressed stream that closes the stored one with itself."""

    def __init__(self, unpacked: IO[bytes], stored: IO[bytes]) -> None:
        self._unpacked = unpacked
        self._stored = stored

    def read(self, size: int = -1) -> bytes:
        return self._unpacked.read() if size < 0 else self._unpacked.read(size)

    def close(self) -> None:
        if not self.closed:
            self._unpacked.close()
            self._stored.close()
        super().close()


def open_text(file: SourceFile) -> IO[bytes]:
    """Open a file's bytes after decompression (gzip, zstd, bzip2, zip of one file), streamed.

    Raises:
        SourceError: It cannot be read, or is an archive of none or of several files.
    """
    stream = open_raw(file)
    try:
        compression = compression_of(stream.read(4))
        stream.seek(0)
        if compression is None:
            return stream
        unpacked = _open_zip(file, stream) if compression == "zip" else _unpack(stream, compression)
    except BaseException:
        stream.close()
        raise
    return cast("IO[bytes]", _Unpacked(unpacked, stream))


def _unpack(stream: IO[bytes], compression: Literal["gzip", "zstd", "bz2"]) -> IO[bytes]:
    import pyarrow as pa

    stored = pa.PythonFile(cast("io.IOBase", stream), "r")
    return cast("IO[bytes]", pa.CompressedInputStream(stored, compression))


def _open_zip(file: SourceFile, stream: IO[bytes]) -> IO[bytes]:
    """Open the one member of an archive; what a Mac adds beside it does not count."""
    try:
        archive = zipfile.ZipFile(stream)
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
        members = [name for name in names if not name.startswith("__MACOSX/")]
        if len(members) == 1:
            return archive.open(members[0])
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise SourceError(
            f"{file.name} cannot be unpacked: {error}", hint="Unpack it and name the file."
        ) from error
    if "[Content_Types].xml" in members:
        raise SourceError(
            f"{file.name} is a spreadsheet or document", hint="Save it as CSV and name that file."
        )
    listed = ", ".join(members[:5])
    raise SourceError(
        f"{file.name} is a zip archive of {len(members)} files, expected one"
        + (f": {listed}" if listed else ""),
        hint="Unpack it and name the files.",
    )
