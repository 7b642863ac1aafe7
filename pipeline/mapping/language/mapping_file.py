"""Reads a mapping file and validates its form; all problems are reported together, with line and column."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.core.errors import MappingError, Problem, SettingsError
from pipeline.mapping.language.form_errors import problems_of
from pipeline.mapping.language.shipped import find_mapping
from pipeline.mapping.language.source_map import YamlDocument, parse
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.language.split_columns import with_parts_of_columns


@dataclass(frozen=True)
class LoadedMapping:
    """A mapping that is right in form.

    Attributes:
        path: The file; look-up tables are looked for under its directory.
        digest: BLAKE2b of its values without `tests`, which change nothing of what is staged; hexadecimal, 32
            characters.
        spec: The mapping's values.
        document: The file's text and plain values, and where each of them is written.
    """

    path: Path
    digest: str
    spec: MappingSpec
    document: YamlDocument


def load_mapping(path_or_name: str) -> LoadedMapping:
    """Read a mapping from a file, or one that ships with the product by its name.

    Raises:
        SettingsError: There is no such file and no such name, or the file cannot be read.
        MappingError: The file is not YAML, or is wrong in form; it holds every problem.
    """
    path = find_mapping(path_or_name)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"The mapping {path} cannot be read: {error.strerror}.") from None
    return read_mapping(path, data)


def read_mapping(path: Path, data: bytes) -> LoadedMapping:
    """Validate the bytes of a mapping.

    Args:
        path: The file that they are from.
        data: The file's bytes.

    Raises:
        MappingError: As for `load_mapping`.
    """
    document = parse(path, _decoded(path, data))
    try:
        spec = MappingSpec.model_validate(document.data)
    except ValidationError as error:
        raise MappingError(problems_of(error, document)) from None
    return LoadedMapping(path, _digest(document.data), *with_parts_of_columns(spec, document))


def _digest(values: Mapping[str, Any]) -> str:
    staged_by = {name: value for name, value in values.items() if name != "tests"}
    return blake2b(json.dumps(staged_by, default=str).encode(), digest_size=16).hexdigest()


def _decoded(path: Path, data: bytes) -> str:
    try:
        # Editors on Windows may begin a file with a byte order mark.
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig", "replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        message = f"byte {data[error.start]:#04x} is not UTF-8; save the mapping as UTF-8"
        raise MappingError([Problem(path, line, column, message)]) from None
