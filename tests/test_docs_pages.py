"""The tutorial and the how-to pages do what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.testing import LocalOmneo
from tests.command import REPOSITORY
from tests.docs_pages import Reader

DOCS = REPOSITORY / "docs"


@pytest.fixture
def reader(tmp_path: Path, omneo: LocalOmneo, monkeypatch: pytest.MonkeyPatch) -> Reader:
    monkeypatch.chdir(tmp_path)
    return Reader(tmp_path, omneo)


@pytest.mark.slow
def test_the_tutorial(reader: Reader):
    reader.follow(DOCS / "tutorial.md")


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted((DOCS / "how-to").glob("*.md")), ids=lambda page: page.stem)
def test_a_how_to_page_goes_on_with_the_tutorial(page: Path, reader: Reader):
    reader.take_files(DOCS / "tutorial.md")
    reader.follow(page)
