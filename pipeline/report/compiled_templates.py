"""Keeps compiled templates beside them, as Python keeps what it compiled of its modules: it takes 0.14 s."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from jinja2.bccache import Bucket, BytecodeCache

_DIRECTORY: Final = Path(__file__).parent / "templates/__pycache__"


class CompiledTemplates(BytecodeCache):
    """Compiled templates on disk; where nothing can be written there, each process compiles its own.

    Jinja compares each with its template and with the version of its own form.

    Args:
        kind: What they were compiled with; the same template is another program where values are escaped.
        directory: Where they are. A user who can write there can change what reports run, as with any module.
    """

    def __init__(self, kind: str, directory: Path = _DIRECTORY) -> None:
        self._kind, self._directory = kind, directory

    def load_bytecode(self, bucket: Bucket) -> None:
        """Fill the bucket, if the template was compiled before."""
        # There is no file before the first use, and none where the directory cannot be written.
        with suppress(OSError), self._path(bucket).open("rb") as file:
            bucket.load_bytecode(file)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep a compiled template; whole or not at all, since another process may read it."""
        if sys.dont_write_bytecode:
            return
        with suppress(OSError):
            self._directory.mkdir(exist_ok=True)
            with NamedTemporaryFile(dir=self._directory, delete=False) as draft:
                bucket.write_bytecode(draft)
            Path(draft.name).replace(self._path(bucket))

    def _path(self, bucket: Bucket) -> Path:
        return self._directory / f"{bucket.key}-{self._kind}.bin"
