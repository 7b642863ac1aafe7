from __future__ import annotations

import pytest

from pipeline.loading.ledger.statements import Statements, in_groups


@pytest.mark.parametrize("count", [0, 1, 2, 255, 256, 257, 600])
def test_every_id_is_asked_for_in_few_kinds_of_statements(count: int) -> None:
    ids = [f"T{number}" for number in range(count)]
    found = list(Statements(is_postgres=False).find(ids))
    assert list(dict.fromkeys(each for _, some in found for each in some)) == ids
    assert [statement.count("?") for statement, _ in found] == [len(some) + 1 for _, some in found]
    assert list(Statements(is_postgres=True).find(ids)) == (
        [(f"{found[0][0].split(' IN ')[0].replace('?', '%s')} = ANY(%s)", [ids])] if ids else []
    )


def test_four_statements_do_for_any_number_of_ids() -> None:
    statements = Statements(is_postgres=False)
    kinds = {statement for count in range(1, 257) for statement, _ in statements.find(["a"] * count)}
    assert sorted(statement.count("?") - 1 for statement in kinds) == [1, 16, 64, 256]


def test_values_go_in_groups() -> None:
    assert [len(some) for some in in_groups(range(600))] == [256, 256, 88]
    assert [each for some in in_groups(range(600)) for each in some] == list(range(600))
