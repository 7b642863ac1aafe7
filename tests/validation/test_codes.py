from pathlib import Path

from pipeline.core.model import CODES
from pipeline.validation.codes import page

PAGE = Path(__file__).parents[2] / "docs" / "codes.md"


def test_the_page_is_up_to_date() -> None:
    """Mend it with `python -m pipeline.validation.codes > docs/codes.md`."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_code_is_on_the_page_once() -> None:
    rows = [line.split("`")[1] for line in page().splitlines() if line.startswith("| `")]
    assert sorted(rows) == sorted(CODES)
