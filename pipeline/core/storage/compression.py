"""Compressed files: how they are recognized and unpacked."""

from __future__ import annotations

import io
import zipfile
from typing import IO, Final, Literal, cast

from pipeline.core.errors import SourceError
from pipeline.core.text.wording import count

Compression = Literal["gzip", "zstd", "bz2", "zip"]
_MAGIC: Final[tuple[tuple[bytes, Compression], ...]] = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    # Programs that compress on several cores may begin with a frame that is only for themselves.
    *((bytes([n]) + b"\x2a\x4d\x18", "zstd") for n in range(0x50, 0x60)),
    (b"BZh", "bz2"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),  # an archive without files
)


def compression_of(head: bytes) -> Compression | None:
    """The compression by a file's first bytes: its name may be wrong."""
    return next((name for magic, name in _MAGIC if head.startswith(magic)), None)


def unpacked(stored: io.BufferedReader, compression: Compression, name: str) -> IO[bytes]:
    """The bytes of a compressed file after decompression, streamed; `name` is the file's.

    Raises:
        SourceError: It is an archive of none or of several files, or one that cannot be unpacked.
    """
    import pyarrow as pa

    if compression == "zip":
        return _unzipped(stored, name)
    return cast("IO[bytes]", pa.CompressedInputStream(pa.PythonFile(stored, "r"), compression))


def _unzipped(stored: IO[bytes], name: str) -> IO[bytes]:
    """Open the one member of an archive; what macOS adds beside it does not count."""
    try:
        archive = zipfile.ZipFile(stored)
        files = [info.filename for info in archive.infolist() if not info.is_dir()]
        members = [file for file in files if not file.startswith("__MACOSX/")]
        if len(members) == 1:
            return archive.open(members[0])
    except zipfile.BadZipFile as error:
        raise SourceError(
            f"{name} is a zip archive or an Excel workbook that is cut short or damaged: {error}",
            hint="Is it still being copied? Copy it again.",
        ) from error
    except RuntimeError as error:
        # `zipfile` raises it for a password, or for a compression it does not know.
        raise SourceError(
            f"{name} cannot be unpacked: {error}", hint="Unpack it and name the file."
        ) from error
    if "[Content_Types].xml" in members:
        raise SourceError(
            f"{name} is a document or spreadsheet of an Office program",
            hint="Name a CSV file; a workbook (.xlsx) is read where the mapping names no other `format`.",
        )
    listed = ", ".join(members[:5])
    raise SourceError(
        f"{name} is a zip archive of {count(len(members), 'file')}, expected one"
        + (f": {listed}" if listed else ""),
        hint="Unpack it and name the files.",
    )
