"""A private directory on a disk or in an object store: what partitions of a run are written to and read from.

A file appears whole or not at all, and takes the place of one of the same name; so work that is done twice,
since a machine died, leaves what it leaves when done once. Other processes are given no more than the address
of one in a store, and open it with credentials of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from io import BufferedWriter, BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from pipeline.core.errors import SettingsError
from pipeline.core.storage.file_systems import REMOTE, file_system, store_errors
from pipeline.core.storage.files import discard, private_dir, replacing

# Imported late, because not every command with a working directory reads Parquet.
if TYPE_CHECKING:
    import pyarrow as pa

_AT_A_TIME: Final = 16
"""Objects that are fetched side by side: a store takes tens of milliseconds to answer for each."""


class Directory(Protocol):
    """A directory, which appears with its first file; `name` is always that of a file or directory in it.

    A missing file is a FileNotFoundError; a directory that cannot be used an OSError on a disk, and a
    SettingsError in a store.
    """

    @property
    def address(self) -> str:
        """Its absolute path, or its URL."""
        ...

    def __truediv__(self, name: str) -> Directory:
        """A directory in it."""
        ...

    def writing(self, name: str) -> AbstractContextManager[BufferedWriter | BytesIO]:
        """A file to write in a `with` block; it appears once the block has ended well."""
        ...

    def opened(self, name: str) -> pa.NativeFile:
        """A seekable file to read; from a store it fetches only the bytes that are read."""
        ...

    def contents(self, names: Sequence[str]) -> Iterator[bytes]:
        """What is in files, in order; from a store several are fetched at a time."""
        ...

    def names(self, pattern: str = "*") -> list[str]:
        """The names of its own files that match a pattern, sorted; none where it does not exist."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        ...

    def discard(self) -> None:
        """Remove the directory with all it holds, if it is there."""
        ...


def directory_at(address: str | Path, drafts: str = "") -> Directory:
    """The directory of this path or URL.

    Args:
        address: The path or URL.
        drafts: A directory in it, on a disk, for files that are not whole yet: a process that is killed
            leaves them there.
    """
    if isinstance(address, str) and REMOTE in address:
        return StoreDirectory(address.rstrip("/"))
    return DiskDirectory(Path(address), Path(address, drafts))


def read(directory: Directory, name: str) -> bytes:
    """What is in one file."""
    return next(directory.contents([name]))


def write(directory: Directory, name: str, content: bytes) -> None:
    """Write a file whole."""
    with directory.writing(name) as file:
        file.write(content)


@dataclass(frozen=True)
class DiskDirectory:
    """A directory on a disk; see `Directory`.

    Attributes:
        path: Its path.
        drafts: A directory on the same disk for files that are not whole yet.
    """

    path: Path
    drafts: Path

    @property
    def address(self) -> str:
        """See `Directory`."""
        return str(self.path)

    def __truediv__(self, name: str) -> DiskDirectory:
        """See `Directory`."""
        return DiskDirectory(self.path / name, self.drafts)

    @contextmanager
    def writing(self, name: str) -> Iterator[BufferedWriter | BytesIO]:
        """See `Directory`."""
        private_dir(self.drafts)
        with replacing(private_dir(self.path) / name, drafts=self.drafts, synced=False) as file:
            yield file

    def opened(self, name: str) -> pa.NativeFile:
        """See `Directory`."""
        import pyarrow as pa

        return pa.OSFile(str(self.path / name), "r")

    def contents(self, names: Sequence[str]) -> Iterator[bytes]:
        """See `Directory`."""
        return ((self.path / name).read_bytes() for name in names)

    def names(self, pattern: str = "*") -> list[str]:
        """See `Directory`."""
        return sorted(path.name for path in self.path.glob(pattern) if path.is_file())

    def remove(self, name: str) -> None:
        """See `Directory`."""
        (self.path / name).unlink(missing_ok=True)

    def discard(self) -> None:
        """See `Directory`."""
        discard(self.path)


@dataclass(frozen=True)
class StoreDirectory:
    """A prefix in an object store; see `Directory`.

    Attributes:
        address: Its URL, without a slash at the end.
    """

    address: str

    def __truediv__(self, name: str) -> StoreDirectory:
        """See `Directory`."""
        return StoreDirectory(f"{self.address}/{name}")

    @contextmanager
    def writing(self, name: str) -> Iterator[BufferedWriter | BytesIO]:
        """See `Directory`; the file is held in memory until it is whole."""
        file = BytesIO()
        yield file
        with self._translated("written") as system:
            system.pipe_file(self._path(name), file.getvalue())

    def opened(self, name: str) -> pa.NativeFile:
        """See `Directory`."""
        import pyarrow as pa

        with self._translated("read") as system:
            # Without a cache, which would fetch what lies between two places that are read.
            return pa.PythonFile(system.open(self._path(name), "rb", cache_type="none"), "r")

    def contents(self, names: Sequence[str]) -> Iterator[bytes]:
        """See `Directory`."""
        for start in range(0, len(names), _AT_A_TIME):
            paths = [self._path(name) for name in names[start : start + _AT_A_TIME]]
            with self._translated("read") as system:
                everything = [None] * len(paths)
                # At once: by default the driver of S3 asks for the size of each first.
                found = system.cat_ranges(paths, everything, everything, on_error="raise", max_concurrency=1)
            yield from found

    def names(self, pattern: str = "*") -> list[str]:
        """See `Directory`."""
        with self._translated("read") as system:
            try:
                found = system.ls(self._path(), detail=True)
            except FileNotFoundError:
                return []
        names = [each["name"].rpartition("/")[2] for each in found if each["type"] == "file"]
        return sorted(name for name in names if fnmatchcase(name, pattern))

    def remove(self, name: str) -> None:
        """See `Directory`."""
        with self._translated("written") as system, suppress(FileNotFoundError):
            system.rm_file(self._path(name))

    def discard(self) -> None:
        """See `Directory`."""
        with self._translated("written") as system, suppress(FileNotFoundError):
            system.rm(self._path(), recursive=True)

    def _path(self, name: str = "") -> str:
        _, root = self._system()
        return f"{root}/{name}" if name else root

    def _system(self) -> tuple[Any, str]:
        # Lists are not kept: files that others have written since would be missing.
        return file_system(self.address, SettingsError, use_listings_cache=False)

    @contextmanager
    def _translated(self, verb: str) -> Iterator[Any]:
        """The store's file system; its errors, which differ by cloud, become a SettingsError."""
        system, _ = self._system()
        with store_errors(self.address, verb, passing=(FileNotFoundError,) if verb == "read" else ()):
            yield system
