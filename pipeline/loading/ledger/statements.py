"""Statements that run for many rows or with every commit, and rows as records.

They are texts that the driver executes: SQLAlchemy's `execute` writes half as many records a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from pipeline.loading.ledger.entries import COUNTED, Counted, Record, State
from pipeline.loading.ledger.tables import RECORDS

T = TypeVar("T")

_AT_ONCE: Final = 256
"""Values in one statement. It may be any number below SQLite's own limit of 32,766."""
_WIDTHS: Final = (1, 16, 64, _AT_ONCE)
"""The number of ids is rounded up to one of these, so that the driver prepares four statements, not 256."""

COUNTED_BY_NAME: Final[Mapping[str, Counted]] = {str(each): each for each in COUNTED}
_STATES: Final = {str(each): each for each in State}
_COLUMNS: Final = tuple(name for name in Record._fields if name != "place")
RECORD_COLUMNS: Final = tuple(RECORDS.c[name] for name in _COLUMNS)
"""The columns that `record_from` takes, in its order."""


def record_from(row: Sequence[Any]) -> Record:
    """The record in a row of the table."""
    external_id, content, state, run_no, attempts, status, message, batch, before, maybe_sent, *rest = row
    omneo_id, source_time, total, held_run, at = rest
    return Record(
        external_id=external_id,
        hash=content,
        state=_STATES[state],
        run_no=run_no,
        attempts=attempts,
        status=status,
        message=message,
        batch=batch,
        before=None if before is None else _STATES[before],
        maybe_sent=bool(maybe_sent),
        omneo_id=omneo_id,
        source_time=source_time,
        total=total,
        held_run=held_run,
        at=at,
    )


def row_from(tenant_no: int | None, record: Record) -> tuple[Any, ...]:
    """The row of a record, as `Statements.put_record` takes it."""
    before = None if record.before is None else record.before.value
    maybe_sent = int(record.maybe_sent)
    # By position, in the order of `_COLUMNS`; only the two states and the flag are converted.
    return (tenant_no, *record[:2], record.state.value, *record[3:8], before, maybe_sent, *record[10:-1])


class Statements:
    """The statements in the dialect of a database.

    Args:
        is_postgres: Whether it is PostgreSQL; else it is SQLite.
    """

    def __init__(self, *, is_postgres: bool) -> None:
        self._mark = mark = "%s" if is_postgres else "?"
        self._is_postgres = is_postgres
        columns = ("tenant_no", *_COLUMNS)
        self.put_record = self._upsert("records", columns, ("tenant_no", "external_id"))
        self.put_place = self._upsert("places", ("run_no", "external_id", "state"), ("run_no", "external_id"))
        self.drop_place = f"DELETE FROM places WHERE run_no = {mark} AND external_id = {mark}"  # noqa: S608
        self.put_file = self._upsert(
            "files",
            ("tenant_no", "digest", "recipe", "path", "size", "modified_ns", "run_id"),
            ("tenant_no", "digest", "recipe"),
        )
        self.add_to_count = f"UPDATE counts SET n = n + {mark} WHERE run_no = {mark} AND state = {mark}"  # noqa: S608
        self.size_and_total = (
            f"SELECT size, (SELECT sum(n) FROM counts WHERE run_no = runs.no) FROM runs WHERE no = {mark}"  # noqa: S608
        )
        self.unchanged_of = f"SELECT unchanged FROM parts WHERE run_no = {mark} AND part = {mark}"  # noqa: S608
        self.advance = (
            f"UPDATE parts SET watermark = {mark}, unchanged = {mark} "  # noqa: S608
            f"WHERE run_no = {mark} AND part = {mark}"
        )

    def find(self, external_ids: Sequence[str]) -> Iterator[tuple[str, Sequence[Any]]]:
        """Statements that read records of a tenant, and the ids that go into each."""
        start = f"SELECT {_names(_COLUMNS)} FROM records WHERE tenant_no = {self._mark} AND external_id"  # noqa: S608
        return self._by_ids(start, external_ids)

    def find_places(self, external_ids: Sequence[str]) -> Iterator[tuple[str, Sequence[Any]]]:
        """Statements that read places, and the ids that go into each."""
        return self._by_ids("SELECT run_no, external_id, state FROM places WHERE external_id", external_ids)

    def _by_ids(self, start: str, ids: Sequence[str]) -> Iterator[tuple[str, Sequence[Any]]]:
        if self._is_postgres:
            if ids:
                yield f"{start} = ANY(%s)", [list(ids)]
            return
        for some in in_groups(ids):
            width = next(width for width in _WIDTHS if width >= len(some))
            # Filled up with the last id, which finds nothing more.
            some += some[-1:] * (width - len(some))
            yield f"{start} IN ({', '.join('?' * width)})", some

    def _upsert(self, table: str, columns: Sequence[str], key: Sequence[str]) -> str:
        written = ", ".join(f'"{name}" = excluded."{name}"' for name in columns if name not in key)
        values = ", ".join([self._mark] * len(columns))
        return (
            f"INSERT INTO {table} ({_names(columns)}) VALUES ({values}) "  # noqa: S608 (all names are ours)
            f"ON CONFLICT ({_names(key)}) DO UPDATE SET {written}"
        )


def in_groups(values: Sequence[T]) -> Iterator[list[T]]:
    """So many values at a time as go into one statement."""
    return (list(values[start : start + _AT_ONCE]) for start in range(0, len(values), _AT_ONCE))


def _names(columns: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)
