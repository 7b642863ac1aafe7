from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.testing import LocalOmneo
from tests.command import call
from tests.receipts import export

pytestmark = pytest.mark.slow


def test_void_says_what_it_does_not_undo_before_it_asks(omneo: LocalOmneo, tmp_path: Path) -> None:
    env = {**omneo.environment(), "OMNEO_IMPORT_WORKDIR": str(tmp_path / "w")}
    assert call("run", "-m", "pos_lines", export(tmp_path / "pos_lines.csv", 3), env=env).code == 0
    asked = call("void", "latest", env=env, answer="n\n")
    said = asked.stdout + asked.stderr
    assert "points, rewards and mails" in said
    assert "Void 3 transactions" in said
    assert not any(each.get("is_void") for each in omneo.transactions())
    voided = call("void", "latest", "--yes", env=env)
    assert (voided.code, "void: 3 transactions in" in voided.stderr) == (0, True)
