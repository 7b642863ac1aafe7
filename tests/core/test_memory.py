"""Settings of the process that change what a run costs."""

from __future__ import annotations

import os

import pytest

from pipeline.core.memory import no_threads_of_numpy


@pytest.mark.parametrize(("own", "then"), [(None, "1"), ("4", "4")])
def test_numpy_has_no_threads_unless_the_user_wants_them(
    monkeypatch: pytest.MonkeyPatch, own: str | None, then: str
):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", own or "")
    if own is None:
        monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    no_threads_of_numpy()
    assert os.environ["OPENBLAS_NUM_THREADS"] == then
