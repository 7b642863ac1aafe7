"""Writing files and directories that only their owner can read, since a run holds personal data."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedWriter
from pathlib import Path
from typing import Final, Literal

PRIVATE_DIR: Final = 0o700
PRIVATE_FILE: Final = 0o600


def private_dir(path: Path) -> Path:
    """Make a directory and its parents, or take a directory that exists, so that only its owner may enter."""
    path.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
    if path.stat().st_mode & 0o077:
        path.chmod(PRIVATE_DIR)
    return path


def open_private(path: Path, mode: Literal["wb", "ab", "xb"] = "wb") -> BufferedWriter:
    """Open a file to write it, as the built-in `open` does; a new file is private from the first moment."""
    return open(path, mode, opener=lambda name, flags: os.open(name, flags, PRIVATE_FILE))


def make_private(path: Path) -> Path:
    """Make an empty private file for a library that opens files itself; a file that exists stays as it is.

    Raises:
        OSError: The file cannot be made or written.
    """
    open_private(path, "ab").close()
    return path


@contextmanager
def replacing(
    path: Path, mode: int = PRIVATE_FILE, *, drafts: Path | None = None, synced: bool = True
) -> Iterator[BufferedWriter]:
    """Write a file whole or not at all: readers see the old contents until the block has ended.

    Args:
        path: The file. It keeps what it has if the block fails.
        mode: Who may read and write the file.
        drafts: A directory on the same disk for the file until it is whole; by default, that of the file.
        synced: Whether it is on the disk by the end of the block, also where the machine crashes after that.
    """
    # Random, since several processes may replace the file at a time, and opened only if it does not exist, so
    # that another user cannot put a link in its place.
    draft = (drafts or path.parent) / f".{path.name}.{secrets.token_hex(4)}"
    try:
        with open_private(draft, "xb") as file:
            yield file
            file.flush()
            if mode != PRIVATE_FILE:
                os.fchmod(file.fileno(), mode)
            if synced:
                # Before the rename, or a crash of the machine could leave an empty file under the final name.
                os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def write_private(path: Path, content: str | bytes) -> None:
    """Write a small private file whole or not at all; text becomes UTF-8."""
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def discard(path: Path) -> None:
    """Remove a directory with all it holds; nothing happens if it does not exist."""
    shutil.rmtree(path, ignore_errors=True)
