from pathlib import Path

from docs.tools.codes_reference import page
from pipeline.core.codes import CODES
from pipeline.validation.declared_checks import item_checks, transaction_checks
from pipeline.validation.policy import Policy
from tests.validation.frames import NOW

PAGE = Path(__file__).parents[2] / "docs" / "codes.md"


def test_the_page_is_up_to_date() -> None:
    """Update it with `make docs`."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_code_is_on_the_page_once() -> None:
    codes, _, _ = page().partition("## What the fields must be")
    rows = [line.split("`")[1] for line in codes.splitlines() if line.startswith("| `")]
    assert sorted(rows) == sorted(CODES)


def test_every_declared_check_gives_a_code_that_is_on_the_page() -> None:
    checks = (*transaction_checks(Policy(), NOW), *item_checks())
    assert {each.code for each in checks} <= set(CODES)
    assert all(f"| {each.expects} | `{each.code}` |" in page() for each in checks)
