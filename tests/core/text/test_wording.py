from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.core.text.wording import agree, count, part, plural

PACKAGE = Path(__file__).parents[3] / "pipeline"


@pytest.mark.parametrize(
    ("number", "noun", "verb", "text"),
    [
        (0, "row", "", "0 rows"),
        (1, "row", "was", "1 row was"),
        (2, "row", "was", "2 rows were"),
        (1_000, "accepted transaction", "is", "1,000 accepted transactions are"),
        (1, "copy", "has", "1 copy has"),
        (2, "copy", "has", "2 copies have"),
        (2, "day", "differs", "2 days differ"),
        (3, "batch", "", "3 batches"),
    ],
)
def test_a_noun_and_a_verb_agree_with_their_number(number: int, noun: str, verb: str, text: str) -> None:
    assert count(number, noun, verb) == text


def test_a_part_takes_the_noun_from_the_whole_and_the_verb_from_itself() -> None:
    assert part(1, 1, "accepted transaction", "was") == "1 of 1 accepted transaction was"
    assert part(1, 2, "accepted transaction", "was") == "1 of 2 accepted transactions was"
    assert part(2_000, 3_000, "file") == "2,000 of 3,000 files"
    assert agree(0, "is") == "are"
    assert plural("tax") == "taxes"


def test_every_number_with_a_noun_goes_through_this_module() -> None:
    """A number beside a noun in the plural is wrong as soon as there is one of it."""
    nouns = "transactions|sales|rows|files|stores|customers|requests|values|tests|items|columns|cells|lines"
    alone = re.compile(
        rf"\{{(?!_?[A-Z]|count\(|part\(|counted\()[^{{}}]*?(?<!f)\}}(?: of \{{[^{{}}]*\}})? (?:{nouns})\b"
    )
    by_hand = re.compile(r"""["'](?:is|was|are|were)["'] if [^"']* == 1\b""")
    found = [
        f"{path.relative_to(PACKAGE)}: {match[0]}"
        for path in sorted(PACKAGE.rglob("*"))
        if path.suffix in (".py", ".j2")
        for pattern in (alone, by_hand)
        for match in pattern.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []
