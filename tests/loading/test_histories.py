"""Two hundred random histories of a delivery: at any moment, and at the end, ledger and server agree."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.loading.histories import History

HISTORIES = int(os.environ.get("HISTORIES", "200"))
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
