from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.text import visible, visible_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 漢字 🙂", "plain é 漢字 🙂"),
        ("\x1b[2J\r\n\0\t", "␛[2J␍␊␀␉"),
        ("\x7f\x9b", "␡\\x9b"),
        ("a\u202eb\xa0c\u200b", "a\\u202eb\\xa0c\\u200b"),
        ("\ud800", "\\ud800"),
    ],
)
def test_invisible_characters_are_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_long_texts_are_cut() -> None:
    assert visible("x" * 10_000, 10) == "xxxxxxxxx…"
    assert visible("x" * 10, 10) == "x" * 10
    assert len(visible("x" * 10_000, None)) == 10_000


@given(st.text(max_size=50))
def test_what_is_shown_is_printable_and_shown_alike_again(text: str) -> None:
    shown = visible(text)
    assert shown.isprintable()
    assert visible(shown, None) == shown


def test_lines_are_kept() -> None:
    assert visible_lines("one\x07\ntwo") == "one␇\ntwo"
