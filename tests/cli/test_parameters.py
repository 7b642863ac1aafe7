"""How rates, times, sizes, shares and limits are written on the command line."""

from __future__ import annotations

from typing import Any

import click
import pytest

from pipeline.cli.parameters import Bytes, GateLimit, RequestRate, Seconds, Share


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (RequestRate(), "600", 600),
        (RequestRate(), "600/min", 600),
        (RequestRate(), " 600 / min ", 600),
        (RequestRate(), "10/s", 600),
        (RequestRate(), "0.5/s", 30),
        (RequestRate(), "6000/h", 100),
        (Seconds(), "90", 90),
        (Seconds(), "1.5s", 1.5),
        (Seconds(), "15m", 900),
        (Seconds(), "15 min", 900),
        (Seconds(), "6h", 21_600),
        (Seconds(), "2d", 172_800),
        (Seconds(), "0", 0),
        (Share(), "5%", 0.05),
        (Share(), "0.05", 0.05),
        (Share(), "100%", 1),
        (Share(), "1", 1),
        (Bytes(), "1024", 1024),
        (Bytes(), "512M", 512 << 20),
        (Bytes(), "2g", 2 << 30),
        (Bytes(), "64 KiB", 64 << 10),
        (Bytes(), "1GB", 1 << 30),
    ],
)
def test_a_number_with_its_unit(kind: click.ParamType[Any], text: str, value: float):
    assert kind.convert(text, None, None) == pytest.approx(value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *((RequestRate(), text) for text in ("", "0", "-1", "fast", "10/year", "10 per s", "1e3")),
        *((Seconds(), text) for text in ("", "-1", "soon", "5 years", "1:30")),
        *((Share(), text) for text in ("", "0", "0%", "101%", "2", "-5%", "half")),
        *((Bytes(), text) for text in ("", "-1", "much", "5T", "1.5G")),
        *((GateLimit(), text) for text in ("", "-1", "101%", "few", "2.5", "%")),
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
    limit = GateLimit().convert(text, None, None)
    assert (limit.text, limit.exceeded(rejected, read)) == (text, exceeded)
    assert GateLimit().convert(limit, None, None) is limit
