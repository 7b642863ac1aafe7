"""How rates, times, sizes, shares and limits are written on the command line."""

from __future__ import annotations

from typing import Any

import click
import pytest

from pipeline.cli.parameters import GATE_LIMIT, REQUEST_RATE, SECONDS, SHARE, SIZE


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (REQUEST_RATE, "600", 600),
        (REQUEST_RATE, "600/min", 600),
        (REQUEST_RATE, " 600 / min ", 600),
        (REQUEST_RATE, "10/s", 600),
        (REQUEST_RATE, "0.5/s", 30),
        (REQUEST_RATE, "6000/h", 100),
        (SECONDS, "90", 90),
        (SECONDS, "1.5s", 1.5),
        (SECONDS, "15m", 900),
        (SECONDS, "15 min", 900),
        (SECONDS, "6h", 21_600),
        (SECONDS, "2d", 172_800),
        (SECONDS, "0", 0),
        (SHARE, "5%", 0.05),
        (SHARE, "0.05", 0.05),
        (SHARE, "100%", 1),
        (SHARE, "1", 1),
        (SIZE, "1024", 1024),
        (SIZE, "512M", 512 << 20),
        (SIZE, "2g", 2 << 30),
        (SIZE, "64 KiB", 64 << 10),
        (SIZE, "1GB", 1 << 30),
    ],
)
def test_a_number_with_its_unit(kind: click.ParamType[Any], text: str, value: float):
    assert kind.convert(text, None, None) == pytest.approx(value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *((REQUEST_RATE, text) for text in ("", "0", "-1", "fast", "10/year", "10 per s", "1e3")),
        *((SECONDS, text) for text in ("", "-1", "soon", "5 years", "1:30", "40000d", "99999999999d")),
        *((SHARE, text) for text in ("", "0", "0%", "101%", "2", "-5%", "half")),
        *((SIZE, text) for text in ("", "-1", "much", "5T", "1.5G")),
        *((GATE_LIMIT, text) for text in ("", "-1", "101%", "few", "2.5", "%")),
    ],
)
def test_anything_else_is_refused_with_what_was_expected(kind: click.ParamType[Any], text: str):
    with pytest.raises(click.BadParameter, match=r"expected|such as"):
        kind.convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "rejected", "read", "exceeded"),
    [
        ("0", 0, 10, False),
        ("0", 1, 10, True),
        ("2", 2, 3, False),
        ("2", 3, 3, True),
        ("2%", 2, 100, False),
        ("2%", 3, 100, True),
        ("0%", 0, 0, False),
        ("0%", 1, 1_000_000, True),
        ("33.4%", 1, 3, False),
        ("33.3 %", 1, 3, True),
        ("100%", 3, 3, False),
        ("7%", 7, 100, False),
        ("29%", 29, 100, False),
    ],
)
def test_a_limit_is_exceeded_above_it_and_not_at_it(text: str, rejected: int, read: int, exceeded: bool):
    limit = GATE_LIMIT.convert(text, None, None)
    assert (limit.text, limit.exceeded(rejected, read)) == (text, exceeded)
    assert GATE_LIMIT.convert(limit, None, None) is limit
