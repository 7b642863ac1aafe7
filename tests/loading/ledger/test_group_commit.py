from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from pipeline.core.errors import SettingsError
from pipeline.loading.ledger.entries import Record, RunRef, State
from pipeline.loading.ledger.group_commit import GroupCommit, LedgerWriter
from pipeline.loading.ledger.ledger import SqlLedger


def record(name: str) -> Record:
    return Record(name, b"", State.SENDING, 1)


@pytest.fixture
def entered(ledger: SqlLedger) -> SqlLedger:
    ledger.open_run(RunRef("r1", 10, 1))
    return ledger


def fill_up(ledger: SqlLedger) -> None:
    """From now on, nothing can be written, as on a full disk; `make_room` ends that."""
    ledger.connection.exec_driver_sql("PRAGMA query_only = 1")
    ledger.connection.commit()


def make_room(ledger: SqlLedger) -> None:
    ledger.connection.exec_driver_sql("PRAGMA query_only = 0")
    ledger.connection.commit()


def test_many_waiters_share_few_commits() -> None:
    groups: list[list[int]] = []

    def seal(items: list[int]) -> Callable[[], None]:
        return lambda: groups.append(items)

    async def main() -> None:
        grouped = GroupCommit(seal)
        await asyncio.gather(*(grouped.put([number]) for number in range(500)))
        grouped.close()

    asyncio.run(main())
    assert [number for group in groups for number in group] == list(range(500))
    assert len(groups) <= 3


def test_put_returns_only_once_it_is_written() -> None:
    written = threading.Event()

    def seal(items: list[int]) -> Callable[[], None]:
        return written.set

    async def main() -> None:
        grouped = GroupCommit(seal)
        await grouped.put([1])
        assert written.is_set()
        grouped.close()

    asyncio.run(main())


def test_after_a_failure_nothing_more_is_written(entered: SqlLedger) -> None:
    # A later commit would carry a watermark past the outcome that was lost.
    async def main() -> None:
        writer = LedgerWriter(entered, lambda: None)
        await writer.put([record("a")])
        await writer.call(fill_up, entered)
        with pytest.raises(SettingsError):
            await writer.put([record("b")])
        await writer.call(make_room, entered)
        with pytest.raises(SettingsError):
            await writer.put([record("c")])
        writer.close()

    asyncio.run(main())
    assert set(entered.find(["a", "b", "c"])) == {"a"}


def test_a_waiter_that_gives_up_does_not_undo_the_write(entered: SqlLedger) -> None:
    async def main() -> None:
        writer = LedgerWriter(entered, lambda: None)
        waiting = asyncio.create_task(writer.put([record("a")]))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await writer.put([record("b")])
        writer.close()

    asyncio.run(main())
    assert set(entered.find(["a", "b"])) == {"a", "b"}


def test_a_waiter_that_gives_up_leaves_the_others_waiting_for_their_write() -> None:
    may_write = threading.Event()

    async def main() -> None:
        grouped = GroupCommit[int](lambda _: may_write.wait)  # type: ignore[arg-type, return-value]  # only its wait counts
        gone, waiting = (asyncio.create_task(grouped.put([number])) for number in (1, 2))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        assert not waiting.done()
        may_write.set()
        await asyncio.wait_for(waiting, 10)
        grouped.close()

    asyncio.run(main())


def test_what_nobody_waits_for_is_written_all_the_same() -> None:
    written: list[int] = []
    is_written = threading.Event()

    def seal(items: list[int]) -> Callable[[], None]:
        def job() -> None:
            written.extend(items)
            is_written.set()

        return job

    async def main() -> None:
        grouped = GroupCommit(seal)
        grouped.put_soon([1])
        assert await asyncio.to_thread(is_written.wait, 10)
        assert written == [1]
        grouped.put_soon([2])
        await grouped.put([3])
        assert written == [1, 2, 3]
        grouped.close()

    asyncio.run(main())


def test_a_failure_without_a_waiter_is_reported_to_the_next(entered: SqlLedger) -> None:
    async def main() -> None:
        writer = LedgerWriter(entered, lambda: None)
        await writer.call(fill_up, entered)
        writer.put_soon([record("a")])
        await asyncio.sleep(0)
        with pytest.raises(SettingsError, match="readonly"):
            await writer.put([record("b")])
        writer.close()

    asyncio.run(main())


def test_what_comes_while_a_group_is_written_goes_into_the_next_as_a_whole() -> None:
    groups: list[list[int]] = []
    has_begun, go_on = threading.Event(), threading.Event()

    def seal(items: list[int]) -> Callable[[], None]:
        def job() -> None:
            has_begun.set()
            go_on.wait()
            groups.append(list(items))

        return job

    async def main() -> None:
        grouped = GroupCommit(seal)
        first = asyncio.create_task(grouped.put([1]))
        await asyncio.to_thread(has_begun.wait)
        others = []
        for number in (2, 3, 4):
            others.append(asyncio.create_task(grouped.put([number])))
            await asyncio.sleep(0.01)  # turns of the loop of their own
        go_on.set()
        await asyncio.gather(first, *others)
        grouped.close()

    asyncio.run(main())
    assert groups == [[1], [2, 3, 4]]


def test_what_was_put_just_before_the_end_is_written(entered: SqlLedger) -> None:
    async def main() -> None:
        writer = LedgerWriter(entered, lambda: None)
        writer.put_soon([record("a")])
        waiting = asyncio.create_task(writer.put([record("b")]))
        await asyncio.sleep(0)
        writer.close()
        await waiting
        with pytest.raises(RuntimeError):
            await writer.put([record("c")])

    asyncio.run(main())
    assert set(entered.find(["a", "b", "c"])) == {"a", "b"}


def test_a_bug_while_a_group_is_put_together_reaches_whoever_waits() -> None:
    def seal(items: list[int]) -> Callable[[], None]:
        raise ZeroDivisionError

    async def main() -> None:
        grouped = GroupCommit(seal)
        with pytest.raises(ZeroDivisionError):
            await grouped.put([1])
        grouped.close()

    asyncio.run(main())
