from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.formatting import duration, share, size, tenant_name, visible


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
    assert visible("three words here and more", 19) == "three words here…"
    assert visible("three words here and more", 17) == "three words here…"
    assert visible("one unusuallylongword", 12) == "one unusual…"


@given(st.text(max_size=50))
def test_what_is_shown_is_printable_and_shown_alike_again(text: str) -> None:
    shown = visible(text)
    assert shown.isprintable()
    assert visible(shown, None) == shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (59.6, "1 min"), (200, "3 min 20 s"), (18_720, "5 h 12 min"), (273_600, "3 d 4 h")],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 0, "0%"),
        (0, 9, "0%"),
        (9, 9, "100%"),
        (1, 10_000, "<0.1%"),
        (9_999, 10_000, ">99.9%"),
        (1, 3, "33.3%"),
    ],
)
def test_shares_never_round_to_nothing_or_all(part: int, whole: int, text: str) -> None:
    assert share(part, whole) == text


def test_sizes_are_in_powers_of_ten() -> None:
    assert [size(0), size(41_230_112), size(3 * 10**9)] == ["0 bytes", "41.2 MB", "3.0 GB"]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://api.acme.getomneo.com/api/v3", "acme"),
        ("https://api.acme-stg.getomneo.com/api/v3", "acme-stg"),
        ("http://127.0.0.1:8080/api/v3", "a local Omneo for rehearsals (127.0.0.1:8080)"),
        ("http://[::1]:8080/api/v3", "a local Omneo for rehearsals ([::1]:8080)"),
        ("https://omneo.example.com/api/v3", "omneo.example.com"),
        ("https://localhost.example.com/api/v3", "localhost.example.com"),
    ],
)
def test_a_tenant_is_called_by_its_name(url: str, name: str) -> None:
    assert tenant_name(url) == name
