"""Jobs on this machine: in order, a few at a time, and none after an error."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from pipeline.engine.local import LocalEngine


def test_results_come_in_the_order_of_the_jobs_whichever_is_done_first():
    def work(job: int) -> int:
        time.sleep(0.02 if job % 2 == 0 else 0)
        return job * job

    assert list(LocalEngine(3).map(work, range(12))) == [job * job for job in range(12)]
    assert list(LocalEngine().map(work, [])) == []


def test_jobs_run_side_by_side_and_few_are_held_at_a_time():
    lock, meeting = threading.Lock(), threading.Barrier(2, timeout=10)
    taken, given = 0, 0
    most = 0

    def jobs() -> Iterator[int]:
        nonlocal taken, most
        for job in range(20):
            with lock:
                taken += 1
                most = max(most, taken - given)
            yield job

    def work(job: int) -> int:
        meeting.wait()  # Only two at a time get past it.
        return job

    for _ in LocalEngine(2).map(work, jobs()):
        with lock:
            given += 1
    assert given == 20
    assert most <= 4


def test_an_error_in_a_job_is_raised_and_no_further_job_begins():
    begun: list[int] = []

    def work(job: int) -> int:
        begun.append(job)
        if job == 3:
            raise ValueError("job 3")
        return job

    with pytest.raises(ValueError, match="job 3"):
        list(LocalEngine(1).map(work, range(100)))
    assert max(begun) <= 5


def test_an_error_while_jobs_are_made_is_raised():
    def jobs() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        list(LocalEngine().map(lambda job: job, jobs()))
