"""The truth about delivery: one record a transaction and tenant, in SQLite or PostgreSQL.

*Sending* is on disk before a request leaves, the outcome after. Commits are grouped, so that one sync to disk
is enough for hundreds of records.

Every change of a record moves its transaction between the counts of its run in the same commit. So counts
are read without a look at records, and every transaction of a run is in exactly one of them.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Final, Self

import sqlalchemy as sa

from pipeline.core.errors import RunError, SettingsError
from pipeline.loading.ledger import migration
from pipeline.loading.ledger.entries import (
    ACCEPTED_BY_OMNEO,
    COUNTED,
    DELIVERY,
    UNSETTLED,
    Counted,
    DeliveryProgress,
    Lease,
    Pass,
    Passed,
    Record,
    RunRef,
    RunStatus,
    State,
    Write,
    may_be_void,
    was_void,
)
from pipeline.loading.ledger.file_store import FileStore
from pipeline.loading.ledger.ledger_database import LedgerDatabase
from pipeline.loading.ledger.part_leases import PartLeases
from pipeline.loading.ledger.record_store import RecordStore
from pipeline.loading.ledger.run_store import RunStore
from pipeline.loading.ledger.statements import Statements, in_groups
from pipeline.loading.ledger.tables import PARTS, RECORDS, RUNS, TENANTS


class SqlLedger(LedgerDatabase):
    """The ledger in a database. Use it from one thread at a time, and for `find` from one more.

    Args:
        where: See `LedgerDatabase`.
        base_url: See `LedgerDatabase`.

    Attributes:
        leases: By which several workers share a run.
        files: The source files that the tenant has got.

    Raises:
        SettingsError: It cannot be opened or written, or was created by a newer version.
    """

    def __init__(self, where: Path | str, base_url: str | None = None) -> None:
        super().__init__(where, base_url)
        statements = Statements(is_postgres=self.is_shared)
        self._runs = RunStore(self, statements)
        self._records = RecordStore(self, statements, self._runs)
        self.leases = PartLeases(self, self._runs)
        self.files = FileStore(self, statements)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What a delivery uses

    def open_run(self, run: RunRef, part: int = 0) -> DeliveryProgress:
        """Enter the run, or find it, and say how far it or one part of it is."""
        with self.writing():
            run_no = self._runs.enter(run)
            if part == 0 and not self._runs.parts(run_no):
                self._runs.add_parts(run_no, {0: run.size})
            (progress,) = self._runs.parts(run_no, part)
            return replace(progress, newer_runs=self._runs.newer_than(run_no))

    def reopen(self, run: RunRef) -> bool:
        """Have a run gone through again from its start, since held or pending transactions may be anywhere.

        What it passed by as unchanged is pending until it is passed by again. Parts that a worker holds are
        left alone.

        Returns:
            Whether there was anything to go through again.
        """
        with self.writing():
            run_no = self._runs.enter(run)
            free = sa.and_(PARTS.c.run_no == run_no, PARTS.c.leased_until < self.now())
            rows = self.connection.execute(sa.select(PARTS).where(free, PARTS.c.watermark > 0)).all()
            unchanged, replaced = sum(row.unchanged for row in rows), sum(row.replaced for row in rows)
            start = {"watermark": 0, "unchanged": 0, "replaced": 0}
            self.connection.execute(PARTS.update().where(free).values(start))
            self._runs.change_counts(
                {
                    (run_no, State.PENDING): unchanged + replaced,
                    (run_no, Passed.UNCHANGED): -unchanged,
                    (run_no, State.DELIVERED): -replaced,
                }
            )
            return bool(rows)

    def find(self, external_ids: Sequence[str], run_no: int | None = None) -> dict[str, Record]:
        """The records of these transactions; those unknown are left out.

        Args:
            external_ids: The transactions.
            run_no: The run that asks: `Record.place` says what it counts a transaction as where another run
                has the record.
        """
        with self.explained("read"), self.finder.begin():
            return self._records.read_for(run_no, external_ids, self.finder)

    def record(
        self, writes: Sequence[Write], progress: DeliveryProgress | None = None, lease: Lease | None = None
    ) -> None:
        """Write all of this, and how far the run is, in one durable commit.

        Args:
            writes: What to write, in this order.
            progress: How far a run, or one part of it, is with them; None where that is not kept.
            lease: Of the part; without it nothing is written. None where there is only one worker.

        Raises:
            LeaseLost: Another worker has taken the part over.
        """
        with self.writing():
            if lease is not None:
                self.leases.check(lease)
            self._records.write(writes, progress)

    def mark(self, seen: Iterable[tuple[Record, State]], *, begun: bool = False) -> None:
        """Note what was seen of transactions in Omneo: confirmed, missing, differing or voided.

        Only what Omneo has answered yes to can be that: a record in another state is left alone. So is one
        for which something was sent since it was read, for then what was seen is not about it.

        Args:
            seen: Records as they were read before, but for Omneo's id, and for the message about what
                differs, which are written; and what was seen of them.
            begun: Whether what Omneo perhaps has can be that too, since no other process is sending it.
        """
        states = {record.external_id: (record, state) for record, state in seen}
        now = int(time.time())
        with self.writing():
            marked = []
            for name, record in self._records.read(list(states)).items():
                read, state = states[name]
                markable = record.state in _MARKABLE or (
                    begun and (record.maybe_sent or record.state in _IN_DOUBT)
                )
                if markable and not _has_moved_on(read, record):
                    # A request that is late, as an unanswered void, may change what was seen.
                    may_change = was_void(record) if state is State.VOIDED else may_be_void(record)
                    marked.append(
                        record._replace(
                            state=state,
                            maybe_sent=may_change,
                            omneo_id=read.omneo_id or record.omneo_id,
                            message=read.message if state is State.DIFFERING else record.message,
                            at=now,
                        )
                    )
            self._records.write(marked, None)

    # What commands ask

    def progress(self, run: RunRef) -> DeliveryProgress:
        """How far a whole run is, all parts together; nothing is entered where it was never opened."""
        with self.reading():
            no = self._runs.find(run.run_id)
            parts = self._runs.parts(no) if no is not None else []
            self._runs.read_order()
            newer = self._runs.newer_than(no or 0, run.ordinal)
        watermark = 0
        for part in parts:
            watermark += part.watermark
            if part.watermark < part.size:
                break
        return DeliveryProgress(no or 0, 0, run.size, watermark, newer_runs=newer)

    def passed(self, run_id: str) -> Callable[[int], bool]:
        """Says of a position in the delivery order whether the run has passed it."""
        with self.reading():
            no = self._runs.find(run_id)
            parts = self._runs.parts(no) if no is not None else []
        starts = list(accumulate((part.size for part in parts), initial=0))

        def is_passed(position: int) -> bool:
            at = bisect_right(starts, position) - 1
            return at < len(parts) and position - starts[at] < parts[at].watermark

        return is_passed

    def counts(self, run_id: str) -> dict[Counted, int]:
        """How many transactions of a run are counted as what; all zero where it was never entered."""
        with self.reading():
            no = self._runs.find(run_id)
            return dict.fromkeys(COUNTED, 0) | (self._runs.counts([no])[no] if no is not None else {})

    def settled(self, run_id: str) -> int:
        """How many transactions of a run are settled."""
        counts = self.counts(run_id)
        return sum(number for each, number in counts.items() if DELIVERY[each] not in ("pending", "in_doubt"))

    def status(self, run_id: str) -> RunStatus:
        """Counts of one run.

        Raises:
            RunError: Nothing of it was ever delivered to this tenant, so the ledger does not know it.
        """
        with self.reading():
            no = self._runs.find(run_id)
            if no is None:
                raise RunError(f"The ledger knows no run {run_id}: nothing of it was sent yet.")
            return RunStatus.of(self._runs.counts([no])[no])

    def statuses(self) -> dict[str, dict[str, RunStatus]]:
        """Counts of all runs that were ever loaded, by run and by base URL; no record is read."""
        columns = sa.select(RUNS.c.no, RUNS.c.run_id, TENANTS.c.base_url)
        with self.reading():
            runs = self.connection.execute(columns.join(TENANTS).order_by(RUNS.c.no)).all()
            counts = self._runs.counts(None)
        found: dict[str, dict[str, RunStatus]] = defaultdict(dict)
        for no, run_id, base_url in runs:
            found[run_id][base_url] = RunStatus.of(counts[no])
        return dict(found)

    def runs(self) -> list[str]:
        """Ids of the runs that were ever loaded to this tenant, oldest first."""
        with self.reading():
            wanted = sa.select(RUNS.c.run_id).where(RUNS.c.tenant_no == self.tenant()).order_by(RUNS.c.no)
            return list(self.connection.execute(wanted).scalars())

    def run_ids(self) -> dict[int, str]:
        """Ids of the runs that were ever loaded to this tenant, by their numbers."""
        with self.reading():
            wanted = sa.select(RUNS.c.no, RUNS.c.run_id).where(RUNS.c.tenant_no == self.tenant())
            return {row.no: row.run_id for row in self.connection.execute(wanted)}

    def failed_transactions(self, run_id: str) -> Iterator[Record]:
        """What this run sent last and is refused, failed, missing, differing or in doubt, by id."""
        yield from self.unsettled(run_id, UNSETTLED - {State.PENDING})

    def unsettled(self, run_id: str, states: Iterable[State] = UNSETTLED) -> Iterator[Record]:
        """The transactions that this run sent last and that are in one of these states, by id."""
        with self.reading():
            # Read in full first: a transaction must not stay open while the caller works.
            found = list(self._records.of_run(self._runs.find(run_id), sorted(states)))
        yield from found

    # Forgetting

    def forget(self, run_id: str, positions: Mapping[str, int]) -> None:
        """Count transactions of a run as forgotten, if Omneo surely has nothing of them from it.

        Args:
            run_id: The run.
            positions: By external id, where in the delivery order it is.
        """
        is_passed = self.passed(run_id)
        with self.writing():
            run_no = self._runs.find(run_id)
            if run_no is None:
                return
            now = int(time.time())
            passes = [Pass(name, run_no, State.FORGOTTEN, now) for name in positions]
            kept = self._records.kept(passes)
            # Nothing is kept of transactions that were passed by as unchanged: Omneo has them.
            chosen = [
                each
                for each in passes
                if not is_passed(positions[each.external_id])
                or kept[each.external_id].counted_in(run_no) is not State.PENDING
                or run_no in kept[each.external_id].places
            ]
            self._records.write(chosen, None)

    def forget_messages(self, external_ids: Sequence[str], text: str) -> int:
        """Remove the server's messages about some transactions, and all messages that contain a text.

        Args:
            external_ids: The transactions, in all tenants.
            text: Letter case is ignored.

        Returns:
            How many records had such a message.
        """
        row = RECORDS.c
        chosen = row.external_id.in_(sa.bindparam("ids"))
        holding = sa.func.lower(row.message).contains(text.lower(), autoescape=True)
        change = RECORDS.update().values(message=None).where(row.message.is_not(None))
        with self.explained("written"):
            with self.writing():
                number = self.connection.execute(change.where(holding)).rowcount
                for some in in_groups(external_ids):
                    number += self.connection.execute(change.where(chosen), {"ids": some}).rowcount
            migration.forget_messages_in_copies(self.connection, self.where)
            if not self.is_shared:
                # The log beside the file still has the old pages.
                busy, *_ = self.connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
                self.connection.commit()
                if busy:
                    raise SettingsError(
                        f"The ledger {self.name} is being read, so that what was removed from it still "
                        f"stands in the log beside it.",
                        hint="Repeat the command once nothing else uses the working directory.",
                    )
        return int(number)


_IN_DOUBT: Final = frozenset({State.SENDING, State.VOIDING, State.IN_DOUBT})
_MARKABLE: Final = ACCEPTED_BY_OMNEO - {State.VOIDED}


def _has_moved_on(read: Record, now: Record) -> bool:
    """Whether something was sent for a transaction, or is about to be, since its record was read."""
    sent = (read.run_no, read.hash, read.attempts) != (now.run_no, now.hash, now.attempts)
    return sent or not (read.state is now.state or now.state in _MARKABLE)
