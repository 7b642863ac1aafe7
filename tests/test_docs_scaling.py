"""The model in docs/scaling.md says what the doc says, and its picture is the one that it draws."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import pytest

from tests.command import REPOSITORY


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Any:
    path = REPOSITORY / "docs" / "scaling_model.py"
    spec = importlib.util.spec_from_file_location("scaling_model", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "scaling_model", module)
    spec.loader.exec_module(module)
    return module


def test_the_picture_is_fresh(model: Any) -> None:
    """Fix it with `python docs/scaling_model.py`."""
    assert (REPOSITORY / "docs" / "scaling.svg").read_text(encoding="utf-8") == model.picture()


def test_the_arithmetic_is_that_of_the_model(model: Any) -> None:
    """Fix it with `python docs/scaling_model.py`."""
    assert model.TABLE in (REPOSITORY / "docs" / "scaling.md").read_text(encoding="utf-8")


def test_the_throttle_is_the_limit_whatever_the_workers(model: Any) -> None:
    assert model.Load(1, 2.0, 1_000).per_min == model.Load(32, 0.2, 1_000).per_min == 985


def test_without_a_throttle_more_workers_send_more(model: Any) -> None:
    one, four = (model.Load(n, 2.0, float("inf")).per_min for n in (1, 4))
    assert four == 4 * one == 4 * 60 * 64 / 2
