"""Runs in the ledger: their parts, how far each part is, and the counts of their transactions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from pipeline.loading.ledger.entries import (
    COUNTED,
    Counted,
    CountsBroken,
    DeliveryProgress,
    Passed,
    RunRef,
    State,
)
from pipeline.loading.ledger.ledger_database import LedgerDatabase
from pipeline.loading.ledger.statements import COUNTED_BY_NAME, Statements
from pipeline.loading.ledger.tables import COUNTS, PARTS, RUNS


class RunStore:
    """The runs of one tenant. Its methods are called within a transaction of the database.

    Args:
        database: The ledger's database.
        statements: In its dialect.
    """

    def __init__(self, database: LedgerDatabase, statements: Statements) -> None:
        self._database = database
        self._statements = statements
        self._order: dict[int, tuple[int, int]] = {}  # by run number: its ordinal, and its number for a tie

    def find(self, run_id: str) -> int | None:
        """The run's number; None where it was never entered for this tenant."""
        wanted = sa.select(RUNS.c.no).where(
            RUNS.c.run_id == run_id, RUNS.c.tenant_no == self._database.tenant()
        )
        no: int | None = self._database.connection.execute(wanted).scalar()
        return no

    def enter(self, run: RunRef) -> int:
        """The run's number; it is entered, all pending, where it is not known yet."""
        db, no = self._database.connection, self.find(run.run_id)
        if no is None:
            row = {"tenant_no": self._database.enter_tenant(), "run_id": run.run_id}
            db.execute(RUNS.insert().values(**row, ordinal=run.ordinal, size=run.size))
            no = self.find(run.run_id)
            assert no is not None
            counts = {each: run.size if each is State.PENDING else 0 for each in COUNTED}
            rows = [{"run_no": no, "state": str(each), "n": number} for each, number in counts.items()]
            db.execute(COUNTS.insert(), rows)
        self.read_order()
        return no

    # Which of two runs is newer

    def read_order(self, db: sa.Connection | None = None) -> None:
        """Read the order of the tenant's runs.

        Args:
            db: The connection to ask; the first one by default.
        """
        runs = sa.select(RUNS.c.no, RUNS.c.ordinal).where(RUNS.c.tenant_no == self._database.tenant(db))
        found = (db or self._database.connection).execute(runs)
        self._order = {no: (ordinal, no) for no, ordinal in found}

    def __contains__(self, run_no: int) -> bool:
        """Whether the run is one of this tenant's, as far as its order was read."""
        return run_no in self._order

    def is_newer(self, run_no: int, other: int) -> bool:
        """Whether a run is newer than another."""
        # Another process may have entered a run since the order was read.
        if not (run_no in self._order and other in self._order):
            self.read_order()
        return self._order.get(run_no, (0, run_no)) > self._order.get(other, (0, other))

    def newer_than(self, run_no: int, ordinal: int | None = None) -> frozenset[int]:
        """The numbers of all runs that are newer than a run.

        Args:
            run_no: The run.
            ordinal: Its ordinal; needed where it was never entered.
        """
        own = self._order[run_no] if ordinal is None else (ordinal, run_no)
        return frozenset(no for no, order in self._order.items() if order > own and no != run_no)

    # Parts

    def parts(self, run_no: int, part: int | None = None) -> list[DeliveryProgress]:
        """How far the parts of a run are, or one of them."""
        wanted = sa.select(PARTS).where(PARTS.c.run_no == run_no).order_by(PARTS.c.part)
        if part is not None:
            wanted = wanted.where(PARTS.c.part == part)
        return [
            DeliveryProgress(row.run_no, row.part, row.size, row.watermark, row.unchanged)
            for row in self._database.connection.execute(wanted)
        ]

    def add_parts(self, run_no: int, sizes: Mapping[int, int]) -> None:
        """Enter parts, by number and with their sizes."""
        rows = [
            {"run_no": run_no, "part": part, "size": size, "watermark": 0, "unchanged": 0}
            for part, size in sizes.items()
        ]
        if rows:
            self._database.connection.execute(PARTS.insert(), rows)

    def advance(self, progress: DeliveryProgress) -> Counter[tuple[int, Counted]]:
        """Write how far a part is; gives how the counts change by what it passed by as unchanged."""
        db, mine = self._database.connection, (progress.run_no, progress.part)
        before: int = db.exec_driver_sql(self._statements.unchanged_of, mine).scalar_one()
        db.exec_driver_sql(self._statements.advance, (progress.watermark, progress.unchanged, *mine))
        by, run_no = progress.unchanged - before, progress.run_no
        return Counter({(run_no, State.PENDING): -by, (run_no, Passed.UNCHANGED): by})

    # Counts

    def counts(self, runs: Sequence[int] | None) -> dict[int, dict[Counted, int]]:
        """The counts of some runs, or of all runs of all tenants, by run number."""
        wanted = sa.select(COUNTS.c.run_no, COUNTS.c.state, COUNTS.c.n)
        if runs is not None:
            wanted = wanted.where(COUNTS.c.run_no.in_(runs))
        found: dict[int, dict[Counted, int]] = defaultdict(dict)
        for run_no, state, number in self._database.connection.execute(wanted):
            found[run_no][COUNTED_BY_NAME[state]] = number
        return found

    def change_counts(self, moved: Mapping[tuple[int, Counted], int]) -> None:
        """Add to the counts, by run and count, and check that each run still counts every transaction once.

        Raises:
            CountsBroken: One would be negative, or they would not add up to the run's size.
        """
        # Always in the same order, so that two writers never wait for each other.
        changed = sorted((no, str(counted), by) for (no, counted), by in moved.items() if by)
        if not changed:
            return
        db = self._database.connection
        try:
            rows = [(by, run_no, counted) for run_no, counted, by in changed]
            db.exec_driver_sql(self._statements.add_to_count, rows)
        except sa.exc.IntegrityError as error:
            raise CountsBroken(f"A count would become negative: {changed}") from error
        for run_no in sorted({run_no for run_no, _, _ in changed}):
            row = db.exec_driver_sql(self._statements.size_and_total, (run_no,)).one_or_none()
            size, counted = row or (0, 0)
            if row is None or size != counted:
                raise CountsBroken(f"Run {run_no} is of {size:,}, and {counted:,} would be counted.")
