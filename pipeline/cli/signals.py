"""SIGINT and SIGTERM: requests in flight are finished; a command without any ends at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.cli.console import Console
    from pipeline.loading.delivery.stop import Stop

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Signalled(BaseException):
    """SIGINT or SIGTERM came while no request was in flight."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


def raise_signals() -> None:
    """Have both signals raise `Signalled`."""

    def raise_signalled(number: int, _: object) -> None:
        raise Signalled(number)

    for number in SIGNALS:
        signal.signal(number, raise_signalled)


@contextmanager
def stoppable() -> Iterator[tuple[Stop, list[int]]]:
    """Have both signals ask a load to finish what is in flight; a second signal ends it.

    Gives what to hand to the load, and the list of signals that came.
    """
    from pipeline.loading.delivery.stop import Stop

    stop, received = Stop(), list[int]()

    def ask(number: int, _: object) -> None:
        received.append(number)
        stop.request()

    before = [signal.signal(number, ask) for number in SIGNALS]
    try:
        yield stop, received
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)


def serve_until_signalled(console: Console, serve: Callable[[], None]) -> int:
    """Run a server, which a signal ends in an orderly way; return the exit code."""
    code = 0
    try:
        serve()
    except Signalled as signalled:
        code = signalled.exit_code
    except KeyboardInterrupt:
        # uvicorn handles the signal itself, and raises this afterwards.
        code = 128 + signal.SIGINT
    console.result({"exit_code": code})
    return code
