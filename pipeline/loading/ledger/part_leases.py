"""Leases on the parts of a run, by which several workers share it.

A lease that is not renewed ends, so that what a dead worker held is taken over by another.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from pipeline.loading.ledger.entries import DeliveryProgress, Lease, LeaseLost, PartSelection, RunRef
from pipeline.loading.ledger.ledger_database import LedgerDatabase
from pipeline.loading.ledger.run_store import RunStore
from pipeline.loading.ledger.tables import PARTS


class PartLeases:
    """Leases on the parts of the tenant's runs.

    Args:
        database: The ledger's database.
        runs: The tenant's runs.
    """

    def __init__(self, database: LedgerDatabase, runs: RunStore) -> None:
        self._database = database
        self._runs = runs

    def share(self, run: RunRef, sizes: Sequence[int]) -> list[DeliveryProgress]:
        """Enter the run in parts of these sizes, numbered from 1, unless it has parts; gives its parts.

        The first worker decides on the sizes.
        """
        with self._database.writing():
            run_no = self._runs.enter(run)
            if not self._runs.parts(run_no):
                self._runs.add_parts(run_no, dict(enumerate(sizes, 1)))
            return self._runs.parts(run_no)

    def take(self, run_no: int, owner: str, lease_s: float, selection: PartSelection) -> Lease | None:
        """Lease the first free part of a selection; None where there is none.

        Args:
            run_no: The run.
            owner: Name of the worker, unique among all.
            lease_s: How long; `renew` makes it longer.
            selection: Which parts.
        """
        db = self._database.connection
        with self._database.writing():
            now = self._database.now()
            free = sa.select(sa.func.min(PARTS.c.part)).where(
                PARTS.c.run_no == run_no, PARTS.c.leased_until < now, _is_selected(selection)
            )
            part = db.execute(free).scalar()
            if part is None:
                return None
            lease = Lease(run_no, part, owner)
            db.execute(PARTS.update().where(_is_of(lease)).values(owner=owner, leased_until=now + lease_s))
            return lease

    def are_left(self, run_no: int, selection: PartSelection) -> bool:
        """Whether any part is in a selection, leased or not."""
        with self._database.reading():
            return self._is_any(PARTS.c.run_no == run_no, _is_selected(selection))

    def are_finished_ones_held(self, run_no: int) -> bool:
        """Whether a worker holds a part in which all is settled: it is at work there, or was just killed."""
        with self._database.reading():
            is_held = PARTS.c.leased_until >= self._database.now()
            return self._is_any(PARTS.c.run_no == run_no, PARTS.c.watermark >= PARTS.c.size, is_held)

    def renew(self, lease: Lease, lease_s: float) -> int:
        """Make a lease last so long from now; gives how many workers hold leases in this ledger.

        Raises:
            LeaseLost: Another worker has taken the part over.
        """
        db = self._database.connection
        longer = PARTS.update().where(_is_of(lease), PARTS.c.owner == lease.owner)
        with self._database.writing():
            now = self._database.now()
            workers = sa.select(sa.func.count(PARTS.c.owner.distinct())).where(PARTS.c.leased_until >= now)
            if db.execute(longer.values(leased_until=now + lease_s)).rowcount == 0:
                raise LeaseLost(lease)
            return int(db.execute(workers).scalar_one())

    def release(self, lease: Lease) -> None:
        """Give the part back at once, if it is still leased."""
        mine = PARTS.update().where(_is_of(lease), PARTS.c.owner == lease.owner)
        with self._database.writing():
            self._database.connection.execute(mine.values(owner=None, leased_until=0))

    def check(self, lease: Lease) -> None:
        """Check that the part is still the worker's. Within `writing`, so it stays so until that ends.

        Raises:
            LeaseLost: Another worker has taken it over.
        """
        if not self._is_any(_is_of(lease), PARTS.c.owner == lease.owner):
            raise LeaseLost(lease)

    def _is_any(self, *conditions: sa.ColumnElement[bool]) -> bool:
        """Whether there is a part for which all of this holds. Within a transaction."""
        found = sa.select(sa.exists().where(*conditions))
        return bool(self._database.connection.execute(found).scalar_one())


def _is_selected(selection: PartSelection) -> sa.ColumnElement[bool]:
    found = PARTS.c.part > selection.beyond
    return sa.and_(found, PARTS.c.watermark < PARTS.c.size) if selection.unfinished else found


def _is_of(lease: Lease) -> sa.ColumnElement[bool]:
    return sa.and_(PARTS.c.run_no == lease.run_no, PARTS.c.part == lease.part)
