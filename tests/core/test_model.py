"""Values that are passed between all parts."""

from __future__ import annotations

from dataclasses import astuple, fields

from pipeline.core.model import RequestCounts


def test_every_count_of_requests_is_added_up() -> None:
    some = RequestCounts(*range(1, len(fields(RequestCounts)) + 1))
    assert astuple(some + some) == tuple(2 * number for number in astuple(some))
    assert some + RequestCounts() == some
