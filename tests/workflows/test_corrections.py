"""A sale that the source corrects after it was delivered ends in Omneo with exactly its items."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.core.settings import connection_from_environment
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.loading.http.endpoints import ENDPOINTS
from pipeline.testing import LocalOmneo
from pipeline.workflows.confirm import confirm
from pipeline.workflows.load import load
from pipeline.workflows.prepare import prepare
from pipeline.workflows.tenant.open_run import Target
from tests.receipts import receipt, write_export

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_page")]

Night = Callable[..., Target]


@pytest.fixture
def night(omneo: LocalOmneo, tmp_path: Path) -> Night:
    """Prepares an export; gives what is to be loaded."""
    connection = connection_from_environment(environ=omneo.environment())

    def prepared(*rows: list[str], **options: object) -> Target:
        source = write_export(tmp_path / "pos_lines.csv", rows)
        assert prepare(tmp_path / "w", "pos_lines", [str(source)]).exit_code == 0
        return Target(tmp_path / "w", "latest", connection, DeliveryOptions(**options))  # type: ignore[arg-type]

    return prepared


def items_of(omneo: LocalOmneo) -> list[str]:
    (sale,) = omneo.transactions()
    return [item["name"] for item in sale["items"]]


@pytest.mark.parametrize("endpoint", ["queue", "update-create", "batch"])
@pytest.mark.parametrize("lines", [1, 2, 4], ids=["fewer", "others", "more"])
def test_a_correction_leaves_none_of_the_old_items(
    night: Night, omneo: LocalOmneo, endpoint: str, lines: int
) -> None:
    chosen = ENDPOINTS[endpoint]
    assert load(night(*receipt(1, 3), endpoint=chosen)).exit_code == 0
    corrected = night(*receipt(1, lines, sku="OTHER", price="4.10"), endpoint=chosen)
    assert load(corrected).exit_code == 0
    omneo.drain()
    assert items_of(omneo) == [f"Thing 1/{at}" for at in range(1, lines + 1)]
    assert confirm(corrected).exit_code == 0


def test_old_items_stay_on_request(night: Night, omneo: LocalOmneo) -> None:
    load(night(*receipt(1, 3)))
    corrected = night(*receipt(1, 1), keep_old_items=True)
    load(corrected)
    omneo.drain()
    assert len(items_of(omneo)) == 3
    assert confirm(corrected).exit_code == 4


def test_a_tenant_that_keeps_old_items_is_found_out(night: Night, omneo: LocalOmneo) -> None:
    omneo.set_faults(keeps_items=True)
    load(night(*receipt(1, 3)))
    corrected = night(*receipt(1, 1))
    load(corrected)
    omneo.drain()
    assert confirm(corrected).exit_code == 4
