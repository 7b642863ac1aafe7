"""Files that come late, about sales that the source cancelled: the newest file has the last word."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.core.settings import Connection, Secret
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.testing import LocalOmneo
from pipeline.workflows.load import load
from pipeline.workflows.prepare import prepare
from pipeline.workflows.tenant.open_run import ReactionsPolicy, Target
from tests.loading.tenant import QUICK

pytestmark = pytest.mark.slow

_SHIPPED = Path(__file__).parents[3] / "mappings" / "pos_lines.yaml"
_HEADER = (
    "receipt_no,store_code,register,sale_datetime,status,customer_email,loyalty_card,staff_code,sale_total,"
    "tender_type,tender_amount,line_no,sku,description,quantity,rrp,unit_price,tax"
)

Night = Callable[..., None]


@pytest.fixture
def night(omneo: LocalOmneo, tmp_path: Path) -> Night:
    """Prepare and load an export that was written on a day, of one sale and a sale of its own."""
    mapping = tmp_path / "pos_lines.yaml"
    shipped = _SHIPPED.read_text(encoding="utf-8").split("\ntests:")[0]
    voiding = "  void: [VOID]\n  cancelled: [CANCELLED]\n  after_delivery: void\n"
    mapping.write_text(shipped.replace("  void: [VOID]\n", voiding), encoding="utf-8")
    connection = Connection(omneo.base_url, Secret(omneo.token))

    def run(day: int, status: str, price: int = 10) -> None:
        source = tmp_path / f"pos_lines_{day}.csv"
        rows = [_row("000", status, price), _row(f"{100 + day}", "COMPLETED", 5)]
        source.write_text("\n".join([_HEADER, *rows, ""]), encoding="utf-8")
        os.utime(source, (1_700_000_000 + 86_400 * day,) * 2)
        prepared = prepare(tmp_path / "work", mapping, [source])
        options = DeliveryOptions(policy=QUICK)
        reactions = ReactionsPolicy(allow=True)
        target = Target(tmp_path / "work", prepared.summary.run_id, connection, options, reactions=reactions)
        assert load(target).exit_code == 0
        omneo.drain()

    return run


def _row(number: str, status: str, price: int) -> str:
    money = f"{price}.00"
    about = f"{number},MEL01,3,28/08/2025 10:39:25,{status},,,E07"
    return f"{about},{money},VISA,{money},1,MUG,Mug,1,{money},{money},1.00"


def _is_void(omneo: LocalOmneo) -> bool:
    (sale,) = (each for each in omneo.transactions() if each["external_id"] == "MEL01-3-000")
    return bool(sale.get("is_void"))


def test_an_older_file_does_not_bring_back_what_was_cancelled_before_its_delivery(
    night: Night, omneo: LocalOmneo
) -> None:
    night(5, "CANCELLED")
    night(4, "COMPLETED")
    assert _is_void(omneo)
    night(6, "COMPLETED")
    assert not _is_void(omneo)


def test_an_older_file_does_not_bring_back_what_was_void_and_then_cancelled(
    night: Night, omneo: LocalOmneo
) -> None:
    night(1, "VOID")
    night(5, "CANCELLED")
    night(4, "COMPLETED", price=20)
    assert _is_void(omneo)


def test_an_older_file_does_not_cancel_what_a_newer_one_had_as_it_was(
    night: Night, omneo: LocalOmneo
) -> None:
    night(1, "COMPLETED")
    night(5, "COMPLETED")
    night(4, "CANCELLED")
    assert not _is_void(omneo)
