"""Random histories of a delivery: at any moment, and at the end, ledger and server agree."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.loading.ledger.entries import Record, Return, RunRef, State
from pipeline.loading.ledger.ledger import SqlLedger
from tests.loading.delivery.histories import History

pytestmark = pytest.mark.slow

HISTORIES = int(os.environ.get("HISTORIES", "100"))
FIRST = int(os.environ.get("FIRST_HISTORY", "0"))
IN_A_TEST = 10


@pytest.mark.parametrize("first", range(FIRST, FIRST + HISTORIES, IN_A_TEST))
def test_ledger_and_server_agree(first: int, tmp_path: Path) -> None:
    for seed in range(first, first + IN_A_TEST):
        history = History(seed, tmp_path)
        try:
            history.play(commands=8)
        except Exception as error:
            error.add_note(f"history {seed}, {history.endpoint}: " + "; ".join(history.done))
            raise


def test_an_intent_taken_back_and_its_outcome_may_be_written_together(ledger: SqlLedger) -> None:
    """As where refusals wait for another answer, which comes before their return is on disk."""
    first, second = (RunRef(name, 1, ordinal) for ordinal, name in enumerate(("r1", "r2")))
    old = Record("A", b"1" * 16, State.CONFIRMED, ledger.open_run(first).run_no)
    ledger.record([old])
    intent = Record("A", b"2" * 16, State.SENDING, ledger.open_run(second).run_no)
    ledger.record([intent])
    ledger.record([Return(intent.run_no, old), intent._replace(state=State.REFUSED)])
    assert (ledger.status("r1").confirmed, ledger.status("r2").refused) == (1, 1)
