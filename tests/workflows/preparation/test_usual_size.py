"""A night that brings much less than the same weekdays before is held back where that was asked for."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.mapping.language.mapping_file import load_mapping
from pipeline.testing import LocalOmneo
from pipeline.workflows.preparation.usual_size import Size, shortfall
from tests.command import Ended, call
from tests.receipts import receipt, write_export

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_page")]

HALF = Decimal("0.5")


def night(
    tmp_path: Path,
    omneo: LocalOmneo,
    name: str,
    sales: int,
    *options: object,
    price: str = "2.50",
    mapping: object = "pos_lines",
    **cells: str,
) -> Ended:
    rows = [row for n in range(sales) for row in receipt(f"{name}-{n}", 1, price=price, **cells)]
    source = write_export(tmp_path / "pos_lines.csv", rows)
    home = ("--workdir", tmp_path / "w", "--json")
    return call("run", "-m", mapping, source, *options, *home, env=omneo.environment())


def move_back(ended: Ended, days: int) -> None:
    """Have a run prepared so many days earlier."""
    manifest = Path(ended.summary["run_dir"]) / "manifest.json"
    kept = json.loads(manifest.read_text())
    kept["created_at"] = (datetime.fromisoformat(kept["created_at"]) - timedelta(days=days)).isoformat()
    manifest.write_text(json.dumps(kept))


@pytest.fixture
def weeks(tmp_path: Path, omneo: LocalOmneo) -> None:
    for week, sales in enumerate((100, 4, 6, 5, 8), 1):
        move_back(night(tmp_path, omneo, f"w{week}", sales), 7 * (6 - week))
    move_back(night(tmp_path, omneo, "other weekday", 100), 1)


@pytest.mark.usefixtures("weeks")
def test_less_than_the_share_of_the_median_is_held_back(tmp_path: Path, omneo: LocalOmneo):
    before = omneo.stats()["arrivals"]["accepted"]
    held = night(tmp_path, omneo, "tonight", 2, "--min-share", "50%")
    assert held.code == 3
    assert "Only 2 accepted transactions, which is less than 50% of the median of the last 4" in held.stderr
    assert omneo.stats()["arrivals"]["accepted"] == before
    assert call("load", "latest", "--workdir", tmp_path / "w", env=omneo.environment()).code == 3

    cheap = night(tmp_path, omneo, "cheap", 5, "--min-share", "50%", price="0.10")
    assert (cheap.code, "is worth only 0.50" in cheap.stderr) == (3, True)
    assert night(tmp_path, omneo, "enough", 3, "--min-share", "50%").code == 0


@pytest.mark.usefixtures("weeks")
def test_without_a_share_it_is_a_notice(tmp_path: Path, omneo: LocalOmneo):
    ended = night(tmp_path, omneo, "tonight", 2)
    assert (ended.code, "--min-share 50% would hold such a run back" in ended.stderr) == (0, True)


def test_the_first_nights_are_never_held_back(tmp_path: Path, omneo: LocalOmneo):
    assert night(tmp_path, omneo, "first", 1, "--min-share", "90%").code == 0
    assert night(tmp_path, omneo, "again", 1, "--min-share", "90%").code == 0


@pytest.mark.usefixtures("weeks")
def test_near_the_share_there_is_a_warning(tmp_path: Path, omneo: LocalOmneo):
    ended = night(tmp_path, omneo, "tonight", 4, "--min-share", "60%")
    assert (ended.code, "It is near --min-share." in ended.stderr) == (0, True)


def test_a_load_of_history_is_no_night(tmp_path: Path, omneo: LocalOmneo):
    recent = datetime.now().strftime("%d/%m/%Y %H:%M:%S")
    move_back(night(tmp_path, omneo, "history", 100), 7)
    assert night(tmp_path, omneo, "tonight", 3, "--min-share", "50%", sale_datetime=recent).code == 0
    move_back(night(tmp_path, omneo, "last week", 10, sale_datetime=recent), 7)
    assert night(tmp_path, omneo, "too few", 3, "--min-share", "50%", sale_datetime=recent).code == 3


def test_a_mapping_that_was_moved_keeps_its_usual_days(tmp_path: Path, omneo: LocalOmneo):
    shipped = load_mapping("pos_lines").path.read_text()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    old, new = tmp_path / "one/shop.yaml", tmp_path / "two/shop.yaml"
    old.write_text(shipped)
    move_back(night(tmp_path, omneo, "last week", 10, mapping=old), 7)
    old.rename(new)
    new.write_text(shipped + "# changed since\n")
    assert night(tmp_path, omneo, "tonight", 3, "--min-share", "50%", mapping=new).code == 3


def test_several_currencies_are_compared_each():
    usual = [Size(10, {"AUD": Decimal(100), "NZD": Decimal(10)})] * 3
    assert not shortfall(Size(10, {"AUD": Decimal(50), "NZD": Decimal(5)}), usual, HALF)
    assert "4.99 NZD" in shortfall(Size(10, {"AUD": Decimal(500), "NZD": Decimal("4.99")}), usual, HALF)
    assert "0.00 NZD" in shortfall(Size(10, {"AUD": Decimal(500)}), usual, HALF)
    assert not shortfall(Size(10, {"": Decimal(1)}), usual, HALF)
    assert not shortfall(Size(0, {}), [], HALF)
