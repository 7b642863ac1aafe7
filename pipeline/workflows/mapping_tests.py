"""The tests that a mapping brings along: a few rows each, and what must become of them.

They go through the same layout, compiled mapping, checks and encoding as the rows of a run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from pipeline.core.errors import Problem, did_you_mean
from pipeline.core.memory import USUAL
from pipeline.core.model import KEY, LINE, LINES, TX
from pipeline.core.text.wording import agree, count
from pipeline.extract.source_files import SourceFile
from pipeline.mapping.compile.compiler import examine
from pipeline.mapping.language.mapping_file import LoadedMapping
from pipeline.mapping.language.source_map import Issue, Location
from pipeline.mapping.language.spec import MappingSpec, MappingTest
from pipeline.mapping.layout.raw_transactions import NO_NOTES
from pipeline.mapping.usage.column_names import unmapped_columns, used_by_table
from pipeline.staging.partitions.hashes import NO_HASHES
from pipeline.validation.outcomes import ACCEPTED
from pipeline.validation.quarantine import placed
from pipeline.workflows.preparation.import_plan import ImportPlan, policy_of
from pipeline.workflows.preparation.judged_partition import JudgedPartition, judge_partition
from pipeline.workflows.preparation.sources import KeyedRows, RunSource, with_source

Rows = Mapping[str, Sequence[Mapping[str, str | None]]]
"""Rows by table: the text of each cell by its column."""


@dataclass(frozen=True)
class Result:
    """What became of the rows of a test.

    Attributes:
        ids: The `external_id` of each sale in them.
        outcome: The outcome of the first sale; empty where there is none.
        reasons: Code and message of each reason for that outcome.
        payload: The payload; None where the sale is not accepted. Numbers are `int` or `Decimal`.
    """

    ids: tuple[str, ...]
    outcome: str
    reasons: tuple[tuple[str, str], ...]
    payload: dict[str, Any] | None

    @property
    def became(self) -> str:
        """The outcome with its reasons, for a sentence."""
        if len(self.ids) != 1:
            return f"{count(len(self.ids), 'sale')} ({', '.join(self.ids)})" if self.ids else "no sale"
        reasons = "; ".join(f"{code}: {message.rstrip('.')}" for code, message in self.reasons)
        return f"{self.outcome} ({reasons})" if reasons else self.outcome


def failures(loaded: LoadedMapping) -> list[Problem]:
    """Run the tests of a mapping that `check_mapping` finds nothing wrong with.

    Returns:
        What differs from what the tests expect, in the order of the file.
    """
    found = (issue for i, test in enumerate(loaded.spec.tests) for issue in _issues(loaded, test, i))
    return sorted({loaded.document.problem(issue) for issue in found})


def rows_of(test: MappingTest) -> Rows:
    """The rows of a test by table, each with all of its cells."""
    if isinstance(test.rows, dict):
        return test.rows
    return {LINES: [{**test.given, **row} for row in test.rows]}


def judge_rows(
    loaded: LoadedMapping, frames: Mapping[str, pl.DataFrame]
) -> tuple[ImportPlan, JudgedPartition]:
    """Map and judge rows that are in memory as a run does.

    Args:
        loaded: A mapping that `check_mapping` finds nothing wrong with.
        frames: By table, rows as a reader gives them with LINE; also those of look-up tables.

    Raises:
        CannotStart: A computation fails on too many of them.
    """
    spec = loaded.spec
    looked_up = {name: frame.drop(LINE) for name, frame in frames.items() if name in spec.lookups}
    frames = {name: frame for name, frame in frames.items() if name not in spec.lookups}
    columns = {name: [each for each in frame.columns if each != LINE] for name, frame in frames.items()}
    # The issues of this are about columns that the rows leave out: those are blank.
    compiled, _ = examine(spec, columns, directory=loaded.path.parent, sources=None, looked_up=looked_up)
    plan = ImportPlan(
        mapping=loaded,
        compiled=compiled,
        policy=policy_of(spec),
        sources=tuple(
            RunSource(SourceFile(name, name, 0), name, position) for position, name in enumerate(frames)
        ),
        columns=columns,
        lookups=(),
        control=None,
        started_at=datetime.now(UTC),
        budget=USUAL,
    )
    tables = {
        name: KeyedRows(spec, name).add(with_source(frame, position))[0]
        for position, (name, frame) in enumerate(frames.items())
    }
    tables = {name: frame for name, frame in tables.items() if KEY in frame.columns}
    return plan, judge_partition(tables, NO_NOTES, plan, NO_HASHES)


def result_of(loaded: LoadedMapping, rows: Rows) -> Result:
    """Map and judge rows as a run does.

    Args:
        loaded: A mapping that `check_mapping` finds nothing wrong with.
        rows: The rows, also those of look-up tables.
    """
    plan, judged = judge_rows(loaded, {name: _frame(each) for name, each in rows.items()})
    verdict = judged.verdict
    outcomes = verdict.outcomes["outcome"].to_list()
    first = verdict.reasons.filter((pl.col(TX) == 0) & (pl.col("outcome") == (outcomes or [""])[0]))
    reasons = placed(first, verdict.headers, judged.shaped, plan.names).select("code", "message")
    accepted = outcomes[:1] == [ACCEPTED]
    return Result(
        ids=tuple(str(each) for each in verdict.headers["external_id"]),
        outcome=outcomes[0] if outcomes else "",
        reasons=tuple(reasons.iter_rows()),
        payload=json.loads(judged.staged["body"][0], parse_float=Decimal) if accepted else None,
    )


def _frame(rows: Sequence[Mapping[str, str | None]]) -> pl.DataFrame:
    """Rows as a reader gives them; LINE is the row's place in the test."""
    names = dict.fromkeys(name for row in rows for name in row)
    cells = {name: pl.Series([row.get(name) for row in rows], dtype=pl.String) for name in names}
    return pl.DataFrame({**cells, LINE: pl.Series(range(1, len(rows) + 1), dtype=pl.Int64)})


# ── What differs ────────────────────────────────────────────────────────────────────────────────────


def _issues(loaded: LoadedMapping, test: MappingTest, number: int) -> Iterator[Issue]:
    here: Location = ("tests", number)
    if unknown := list(_unknown_columns(loaded.spec, test, here)):
        yield from unknown
        return
    result, expect = result_of(loaded, rows_of(test)), (*here, "expect")
    if len(result.ids) != 1:
        message = f"its rows make {result.became}, and one sale was expected"
        yield Issue((*here, "rows"), _failed(test, message))
    elif test.expect.payload is not None:
        if result.payload is None:
            message = f"the sale is {result.became}, and a payload was expected"
            yield Issue((*expect, "payload"), _failed(test, message))
        else:
            for path, message in differences(test.expect.payload, result.payload):
                yield Issue((*expect, "payload", *path), _failed(test, message))
    else:
        outcome = "rejected" if test.expect.rejected is not None else "dropped"
        code = getattr(test.expect, outcome)
        if result.outcome != outcome or code not in [found for found, _ in result.reasons]:
            message = f"the sale is {result.became}, and {outcome} as {code} was expected"
            yield Issue((*expect, outcome), _failed(test, message))


def _unknown_columns(spec: MappingSpec, test: MappingTest, here: Location) -> Iterator[Issue]:
    """Columns that the mapping does not use: a mistyped one would silently be blank."""
    rows = {name: each for name, each in rows_of(test).items() if name not in spec.lookups}
    columns = {name: list(dict.fromkeys(cell for row in each for cell in row)) for name, each in rows.items()}
    used = used_by_table(spec)
    for table, names in unmapped_columns(spec, columns).items():
        for name in names:
            near = did_you_mean(name, sorted(used.get(table, ())))
            message = f"the mapping uses no column '{name}'{near}"
            yield Issue(_place_of(test, table, name, here), _failed(test, message))


def _place_of(test: MappingTest, table: str, name: str, here: Location) -> Location:
    if name in test.given:
        return (*here, "given", name)
    rows = test.rows[table] if isinstance(test.rows, dict) else test.rows
    inside = (*here, "rows", table) if isinstance(test.rows, dict) else (*here, "rows")
    return (*inside, next(n for n, row in enumerate(rows) if name in row), name)


def _failed(test: MappingTest, message: str) -> str:
    return f"the test '{test.name}' fails: {message}"


def differences(expected: Any, found: Any, path: Location = ()) -> Iterator[tuple[Location, str]]:
    """Where a payload differs from what is expected of it.

    Args:
        expected: Values as YAML has them. Of an object only the keys in it are compared, and the value None
            means that there is no such key; a list must be complete.
        found: Values as JSON has them.
        path: Where they are.

    Returns:
        Places in `expected`, and what is there instead.
    """
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for name, value in expected.items():
            yield from differences(value, found.get(name), (*path, name))
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for n, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from differences(one, other, (*path, n))
    elif isinstance(expected, list) and isinstance(found, list):
        wanted = f"{len(expected)} {agree(len(expected), 'was')} expected"
        message = f"{_name(path)} has {count(len(found), 'member')}, and {wanted}"
        yield path, message
    elif not _equal(expected, found):
        there = f"is {_shown(found)}" if found is not None else "is not there"
        wanted = _shown(expected) if expected is not None else "no such key"
        yield path, f"{_name(path)} {there}, and {wanted} was expected"


def _equal(expected: Any, found: Any) -> bool:
    if isinstance(found, bool) or isinstance(expected, bool):
        return expected is found
    if isinstance(found, str) and isinstance(expected, int | Decimal):
        return str(expected) == found  # ids need no quotes
    return bool(expected == found)


def _name(path: Location) -> str:
    name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
    return f"`{name}`" if name else "the payload"


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, Decimal) else json.dumps(value, default=str, ensure_ascii=False)
