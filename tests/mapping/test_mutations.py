"""Whatever is done to a mapping, its problems are said, and `check` and `prepare` say the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.core.errors import MappingError
from pipeline.mapping.compile.check import check_mapping
from pipeline.mapping.language.mapping_file import load_mapping, read_mapping
from pipeline.mapping.language.shipped import shipped_mapping, shipped_names
from pipeline.mapping.usage.column_names import used_by_table
from pipeline.workflows.preparation.import_plan import policy_of
from tests.command import call
from tests.fuzzing import times

pytestmark = pytest.mark.slow

Columns = Mapping[str, Sequence[str]]
OTHER: dict[str, Any] = {"list": ["a"], "object": {"a": "b"}, "number": 5, "word": "zork", "nothing": None}


def parts(data: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every part of a document."""
    members = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in members:
        yield (*at, key)
        yield from parts(value, (*at, key))


def mutated(data: Any, place: tuple[Any, ...], how: str) -> Any:
    """A document in which one part is gone, misspelt or something else."""
    data = around = deepcopy(data)
    for key in place[:-1]:
        around = around[key]
    key = place[-1]
    if how == "removed":
        del around[key]
    elif how == "misspelt" and isinstance(around, dict):
        members = [(f"{name}x" if name == key else name, value) for name, value in around.items()]
        around.clear()
        around.update(members)
    else:
        around[key] = f"{around[key]}x" if how == "misspelt" else OTHER[how]
    return data


def mutations(name: str, wanted: int) -> Iterator[tuple[str, bytes, Columns]]:
    """Some of what can be done to a shipped mapping, and to the columns of its source."""
    spec, path = load_mapping(name).spec, shipped_mapping(name)
    columns = {table: sorted(used | {*spec.columns}) for table, used in used_by_table(spec).items()}
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    ways = [(place, how) for place in parts(data) for how in ("removed", "misspelt", *OTHER)]
    for place, how in ways[:: max(1, len(ways) // wanted)]:
        text = yaml.safe_dump(mutated(data, place, how), sort_keys=False, allow_unicode=True)
        yield f"{'.'.join(map(str, place))} {how}", text.encode(), columns
    for table, names in columns.items():
        for column in names[:: max(1, len(names) // 5)]:
            renamed = [f"{each}_" if each == column else each for each in names]
            yield f"{table}.{column} renamed", path.read_bytes(), {**columns, table: renamed}


def look_at(path: Path, text: bytes, columns: Columns) -> None:
    """Read and compile a mapping, alone and with the columns of a source."""
    try:
        loaded = read_mapping(path, text)
    except MappingError:
        return
    check_mapping(loaded)
    if not check_mapping(loaded, columns, []):
        policy_of(loaded.spec)


@pytest.mark.parametrize("name", shipped_names())
def test_whatever_is_done_to_a_mapping_its_problems_are_said(name: str) -> None:
    for what, text, columns in mutations(name, times(15, fuzz=25)):
        try:
            look_at(shipped_mapping(name), text, columns)
        except Exception as error:
            error.add_note(what)
            raise


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("total: total", "total: total", 0),
        ("total: total", "total: ttl", 2),
        ("total: total", "total: {sql: \"total * 'x'\"}", 2),
        ("total: total", 'total: {sum: {sql: "CAST(total AS DECIMAL)"}}', 0),
        ("at, then", "total, then", 0),
        ("formats: [iso]", "formats: ['%H %Z']", 2),
        ("formats: [iso]", "formats: []", 2),
    ],
)
def test_check_and_prepare_end_alike(tmp_path: Path, old: str, new: str, code: int) -> None:
    text = (
        "mapping: m\nsource: {layout: lines, key: [id]}\ntransaction:\n  external_id: id\n  total: total\n"
        "  transacted_at: {column: at, then: [{datetime: {formats: [iso]}}]}\n"
    )
    assert old in text
    (tmp_path / "m.yaml").write_text(text.replace(old, new))
    (tmp_path / "s.csv").write_text("id,total,at\n1,2.50,2024-01-02 10:00\n")
    files = ("-m", tmp_path / "m.yaml", tmp_path / "s.csv", "--workdir", tmp_path / "w")
    checked = call("check", *files)
    prepared = call("prepare", *files, "--max-rejected", "100%")
    assert (checked.code, prepared.code) == (code, code)
    reported = [
        [line for line in each.stderr.splitlines() if "m.yaml:6" in line] for each in (checked, prepared)
    ]
    assert reported[0] == reported[1]
