from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from pipeline.errors import SettingsError
from pipeline.loading.entries import Row, State
from pipeline.loading.ledger import MemoryLedger
from pipeline.loading.recorder import Grouped, Recorder


def row(name: str) -> Row:
    return Row(name, b"", State.SENDING, 0, None, None, None, 1, 0)


def test_many_waiters_share_few_commits() -> None:
    groups: list[list[int]] = []

    def seal(items: list[int]) -> Callable[[], None]:
        return lambda: groups.append(items)

    async def main() -> None:
        grouped = Grouped(seal)
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
        grouped = Grouped(seal)
        await grouped.put([1])
        assert written.is_set()
        grouped.close()

    asyncio.run(main())


def test_after_a_failure_nothing_more_is_written() -> None:
    # A later commit would carry a watermark past the outcome that was lost.
    class Full(MemoryLedger):
        def record(self, *args: object) -> None:
            if not self.rows:
                super().record(*args)  # type: ignore[arg-type]
                return
            raise SettingsError("full")

    ledger = Full()

    async def main() -> None:
        recorder = Recorder(ledger, lambda: None)
        await recorder.put([row("a")])
        with pytest.raises(SettingsError):
            await recorder.put([row("b")])
        ledger.rows.clear()
        with pytest.raises(SettingsError):
            await recorder.put([row("c")])
        recorder.close()

    asyncio.run(main())
    assert ledger.rows == {}


def test_a_waiter_that_gives_up_does_not_undo_the_write() -> None:
    ledger = MemoryLedger()

    async def main() -> None:
        recorder = Recorder(ledger, lambda: None)
        waiting = asyncio.create_task(recorder.put([row("a")]))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await recorder.put([row("b")])
        recorder.close()

    asyncio.run(main())
    assert set(ledger.rows) == {"a", "b"}
