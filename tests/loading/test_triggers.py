"""What the tenant runs for an imported sale is read from it; old sales are counted by what would be sent."""

from __future__ import annotations

import pytest

from pipeline.core.errors import StoppedByApi
from pipeline.core.model import StagedTransaction
from pipeline.core.settings import Connection, Secret
from pipeline.loading.delivery.decisions import LoadRules, RetryRules
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.loading.triggers import ActiveTrigger, Reactions, ask_reactions, held, is_history
from pipeline.simulator import EXAMPLE_TRIGGERS, Reaction, SimulatorSettings
from pipeline.testing import LocalOmneo, local_omneo
from tests.loading.tenant import QUICK, Tenant, batches_of, load, made, run_of


def ask(omneo: LocalOmneo, token: str | None = None) -> Reactions:
    answer = ask_reactions(
        Connection(omneo.base_url, Secret(token or omneo.token)), DeliveryOptions(policy=QUICK)
    )
    assert answer is not None
    return answer


def test_only_active_triggers_of_a_sale_are_named():
    with local_omneo(SimulatorSettings(triggers=EXAMPLE_TRIGGERS)) as omneo:
        assert ask(omneo).active == (
            ActiveTrigger("Send receipt mail", "transaction.created", ("target.send",)),
            ActiveTrigger("Points for every sale", "transaction.created", ("points.award",)),
        )


def test_all_pages_are_read():
    many = tuple(Reaction(f"T{n}", "transaction.updated") for n in range(250))
    with local_omneo(SimulatorSettings(triggers=many)) as omneo:
        assert [each.name for each in ask(omneo).active or ()] == [each.name for each in many]


@pytest.mark.parametrize("status", [403, 404, 500])
def test_what_is_no_list_is_no_answer(status: int):
    with local_omneo(SimulatorSettings(triggers=EXAMPLE_TRIGGERS), triggers_status=status) as omneo:
        answer = ask(omneo)
    assert answer.active is None
    assert answer.why_unknown
    assert answer.requests is not None
    assert answer.requests.sent == (3 if status == 500 else 1)


def test_a_bad_token_is_an_error():
    with local_omneo() as omneo, pytest.raises(StoppedByApi, match="401"):
        ask(omneo, "another")


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((0, 1000), False),
        ((50, 950), False),  # five in a hundred are a few late ones
        ((51, 950), True),
        ((500, 20_000), False),
        ((501, 20_000), True),
        ((1, 0), True),
    ],
)
def test_a_few_late_sales_are_no_history(ledger: SqlLedger, sizes: tuple[int, int], expected: bool):
    some = [StagedTransaction(f"t-{n}", b'{"n": 1}') for n in range(sum(sizes))]
    assert is_history(run_of("r", some), batches_of(some, 700), ledger, LoadRules(), sizes[0]) is expected


def test_what_was_sent_is_not_counted(ledger: SqlLedger):
    some = [made(n) for n in range(40)]
    more = [*some, made(41)]
    load(ledger, run_of("first", some), some, Tenant())
    again = run_of("second", more, day=2)
    assert not is_history(again, batches_of(more), ledger, LoadRules(), 40)
    assert is_history(again, batches_of(more), ledger, LoadRules(), 41)
    assert not is_history(run_of("first", some), batches_of(some), ledger, RetryRules(), 40)


def test_the_error_names_each_trigger_with_its_actions():
    error = held([ActiveTrigger("Send receipt mail", "transaction.created", ("target.send",))], "R1", 286_000)
    assert error.exit_code == 3
    for part in (
        "up to 286,000 transactions",
        "1 active trigger ",
        "Send receipt mail",
        "target.send",
        "allow",
    ):
        assert part in str(error)
