"""Texts of a source are shown without what would steer a spreadsheet, a terminal or a reader's eye."""

from __future__ import annotations

import unicodedata

import polars as pl
import pytest

from pipeline.core.text.safe_text import neutral

CONTROLS = [
    chr(n) for n in range(0x110000) if unicodedata.category(chr(n)) == "Cc" and chr(n) not in "\t\n\r"
]
DIRECTIONS = [
    chr(n) for n in range(0x2000, 0x2070) if unicodedata.bidirectional(chr(n)) in
    {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
]  # fmt: skip


@pytest.mark.parametrize("characters", [CONTROLS, DIRECTIONS], ids=["controls", "directions"])
def test_no_character_that_controls_what_is_shown_is_left(characters: list[str]) -> None:
    assert characters
    shown = pl.Series([f"a{each}b" for each in characters]).to_frame("x").select(neutral(pl.col("x")))
    for text in shown["x"]:
        assert not {*text} & {*characters}, text


@pytest.mark.parametrize("text", ["é", "\u2029", "\u202f", "\u2065", "\u206a", "a\tb", "\u00a0"])
def test_other_characters_stay(text: str) -> None:
    assert pl.select(neutral(pl.lit(text))).item() == text
