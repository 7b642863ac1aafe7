"""Records of transactions in the ledger, read and written so that the counts of runs follow from them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

import sqlalchemy as sa

from pipeline.loading.ledger.entries import (
    UNSETTLED,
    Counted,
    DeliveryProgress,
    Pass,
    Passed,
    Record,
    Return,
    Stamp,
    Write,
)
from pipeline.loading.ledger.ledger_database import LedgerDatabase
from pipeline.loading.ledger.moves import LedgerEntry, after, moves
from pipeline.loading.ledger.run_store import RunStore
from pipeline.loading.ledger.statements import (
    COUNTED_BY_NAME,
    RECORD_COLUMNS,
    Statements,
    record_from,
    row_from,
)
from pipeline.loading.ledger.tables import RECORDS


class RecordStore:
    """The records of one tenant. Its methods are called within a transaction of the database.

    Args:
        database: The ledger's database.
        statements: In its dialect.
        runs: The tenant's runs.
    """

    def __init__(self, database: LedgerDatabase, statements: Statements, runs: RunStore) -> None:
        self._database = database
        self._statements = statements
        self._runs = runs

    def read(self, external_ids: Sequence[str], db: sa.Connection | None = None) -> dict[str, Record]:
        """The records of these transactions; those unknown are left out.

        Args:
            external_ids: The transactions.
            db: The connection to ask; the first one by default.
        """
        db = db or self._database.connection
        tenant = self._database.tenant(db)
        if tenant is None:
            return {}
        found: dict[str, Record] = {}
        for statement, ids in self._statements.find(external_ids):
            rows = db.exec_driver_sql(statement, (tenant, *ids)).all()
            found.update((row[0], record_from(row)) for row in rows)
        return found

    def read_for(
        self, run_no: int | None, external_ids: Sequence[str], db: sa.Connection
    ) -> dict[str, Record]:
        """As `read`, with `Record.place`: what the run counts a transaction as, if it is another run's."""
        found = self.read(external_ids, db)
        others = [name for name, each in found.items() if each.run_no != run_no]
        if run_no is not None and others:
            for name, by_run in self._read_places(db, others).items():
                if run_no in by_run:
                    found[name] = found[name]._replace(place=by_run[run_no])
            for name in others:
                if found[name].held_run == run_no:
                    found[name] = found[name]._replace(place=Passed.HELD)
        return found

    def of_run(self, run_no: int | None, states: Sequence[str]) -> Iterator[Record]:
        """The records of a run that are in one of these states, all of which are unsettled, by id."""
        row = RECORDS.c
        wanted = sa.select(*RECORD_COLUMNS).where(
            row.run_no == run_no,
            # Repeats the condition of the index as literals: with bound values SQLite would not use the
            # index.
            row.state.in_([sa.literal_column(f"'{state}'") for state in sorted(UNSETTLED)]),
            row.state.in_(states),
        )
        return map(record_from, self._database.connection.execute(wanted.order_by(row.external_id)))

    def write(self, writes: Sequence[Write], progress: DeliveryProgress | None) -> None:
        """Write all of this, with the changes of counts that follow, and how far a part of a run is."""
        old = self.kept(writes)
        new = dict(old)
        moved: Counter[tuple[int, Counted]] = Counter()
        for write in writes:
            if isinstance(write, Stamp):
                for name in write.external_ids:
                    if (record := new[name].record) is not None:
                        new[name] = new[name]._replace(record=record._replace(batch=write.batch))
                continue
            (name,) = _ids_of(write)
            kept = after(new[name], write, self._runs.is_newer)
            for move in moves(new[name], kept):
                moved[move.run_no, move.old] -= 1
                moved[move.run_no, move.new] += 1
            new[name] = kept
        self._put(old, new)
        if progress is not None:
            moved.update(self._runs.advance(progress))
        self._runs.change_counts(moved)

    def kept(self, writes: Sequence[Write]) -> dict[str, LedgerEntry]:
        """What the ledger keeps of all transactions that these writes are about."""
        names = list(dict.fromkeys(name for write in writes for name in _ids_of(write)))
        records = self.read(names)
        places = self._read_places(self._database.connection, names)
        return {name: LedgerEntry(records.get(name), places.get(name, {})) for name in names}

    def _read_places(self, db: sa.Connection, external_ids: Sequence[str]) -> dict[str, dict[int, Counted]]:
        """By transaction and by run of this tenant, what it is counted as where its record does not say."""
        found: dict[str, dict[int, Counted]] = defaultdict(dict)
        for statement, ids in self._statements.find_places(external_ids):
            rows = db.exec_driver_sql(statement, tuple(ids)).all()
            if any(run_no not in self._runs for run_no, *_ in rows):
                self._runs.read_order(db)
            for run_no, external_id, state in rows:
                if run_no in self._runs:
                    found[external_id][run_no] = COUNTED_BY_NAME[state]
        return found

    def _put(self, old: Mapping[str, LedgerEntry], new: Mapping[str, LedgerEntry]) -> None:
        tenant = self._database.tenant()
        # In the order of ids, so that neighbours in the index are written together.
        rows = [
            row_from(tenant, kept.record)
            for name, kept in sorted(new.items())
            if kept.record is not None and kept.record != old[name].record
        ]
        put, gone = [], []
        for name, kept in new.items():
            before = old[name].places
            gone += [(run_no, name) for run_no in before if run_no not in kept.places]
            put += [(run_no, name, str(counted)) for run_no, counted in kept.places.items()]
        for statement, values in (
            (self._statements.put_record, rows),
            (self._statements.put_place, put),
            (self._statements.drop_place, gone),
        ):
            if values:
                self._database.connection.exec_driver_sql(statement, values)


def _ids_of(write: Write) -> Sequence[str]:
    match write:
        case Stamp():
            return write.external_ids
        case Return():
            return [write.record.external_id]
        case Record() | Pass():
            return [write.external_id]
