"""Draws are repeatable, have the shares that are set, and outages keep to their window."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.simulator import Faults
from pipeline.simulator.fault_injector import FaultInjector, InjectedFault

MIXED = Faults(error_share=0.1, reset_before_share=0.2, reset_after_share=0.05, slow_share=0.15)


def test_the_same_seed_gives_the_same_draws():
    draws = [
        [injector.draw() for _ in range(100)]
        for injector in (FaultInjector(MIXED, 7), FaultInjector(MIXED, 7), FaultInjector(MIXED, 8))
    ]
    assert draws[0] == draws[1] != draws[2]


def test_forgetting_starts_the_draws_again():
    injector = FaultInjector(MIXED, 7)
    first = [injector.draw() for _ in range(50)]
    injector.forget()
    assert [injector.draw() for _ in range(50)] == first


def test_shares_are_kept():
    injector = FaultInjector(MIXED, 1)
    counts = Counter(injector.draw() for _ in range(20_000))
    for fault, share in [
        (InjectedFault.ERROR, 0.1),
        (InjectedFault.RESET_BEFORE, 0.2),
        (InjectedFault.RESET_AFTER, 0.05),
        (InjectedFault.SLOW, 0.15),
        (InjectedFault.NONE, 0.5),
    ]:
        assert counts[fault] / 20_000 == pytest.approx(share, abs=0.015)


def test_an_outage_keeps_to_its_window():
    now = 100.0
    injector = FaultInjector(Faults(outage_after_s=10, outage_for_s=5), 0, clock=lambda: now)
    for now, away in [(100, False), (109.9, False), (110, True), (114.9, True), (115, False), (200, False)]:
        assert (injector.draw() is InjectedFault.OUTAGE) is away, now
    injector.change(Faults(outage=True))
    assert injector.draw() is InjectedFault.OUTAGE
    injector.change(Faults(outage_for_s=1))
    assert injector.draw() is InjectedFault.OUTAGE
    now = 201.0
    assert injector.draw() is InjectedFault.NONE


@given(st.lists(st.text(), unique=True, min_size=1, max_size=30), st.floats(0, 1), st.integers())
def test_refusals_depend_on_nothing_but_id_and_seed(ids, share, seed):
    faults = Faults(refused_share=share)
    here, there = FaultInjector(faults, seed), FaultInjector(faults, seed)
    assert {each for each in ids if here.refuses(each)} == {each for each in ids[::-1] if there.refuses(each)}


def test_refusals_and_losses_have_their_shares_and_are_not_the_same_ids():
    injector = FaultInjector(Faults(refused_share=0.04, lost_share=0.04), 0)
    ids = [f"S-{number}" for number in range(20_000)]
    refused = {each for each in ids if injector.refuses(each)}
    lost = {each for each in ids if injector.loses(each)}
    assert len(refused) / 20_000 == pytest.approx(0.04, abs=0.005)
    assert len(lost) / 20_000 == pytest.approx(0.04, abs=0.005)
    assert refused != lost


def test_a_job_is_lost_only_once():
    injector = FaultInjector(Faults(lost_share=1), 0)
    assert [injector.loses("S-1"), injector.loses("S-1"), injector.loses("S-2")] == [True, False, True]


def test_times_are_spread_over_their_range():
    injector = FaultInjector(Faults(latency_s=1, jitter_s=2, job_delay_s=5), 0)
    drawn = [injector.latency_s() for _ in range(1000)]
    assert 1 <= min(drawn) < 1.1
    assert 2.9 < max(drawn) <= 3
    assert injector.job_delay_s() == 5


def test_webhooks_are_withheld_or_doubled_by_share():
    injector = FaultInjector(Faults(webhook_never_share=0.3, webhook_twice_share=0.2), 0)
    counts = Counter(injector.webhook_copies() for _ in range(20_000))
    assert [counts[copies] / 20_000 for copies in (0, 1, 2)] == pytest.approx([0.3, 0.5, 0.2], abs=0.015)
