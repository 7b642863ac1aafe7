from __future__ import annotations

import asyncio

from pipeline.core.clock import FakeClock


def test_sleepers_wake_in_order_and_no_time_passes_for_real() -> None:
    woken: list[tuple[str, float]] = []

    async def main() -> None:
        clock = FakeClock()

        async def one(name: str, seconds: float) -> None:
            await clock.sleep(seconds)
            woken.append((name, clock.monotonic()))

        await asyncio.gather(one("late", 86_400), one("early", 1), one("middle", 3600))
        assert clock.time() == 1_700_000_000 + 86_400

    asyncio.run(main())
    assert woken == [("early", 1), ("middle", 3600), ("late", 86_400)]
