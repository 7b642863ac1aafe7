"""The pages for users do what they say."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.command import REPOSITORY
from tests.docs_pages import PageReader

DOCS = REPOSITORY / "docs"


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PageReader]:
    monkeypatch.chdir(tmp_path)
    with ExitStack() as servers:
        yield PageReader(tmp_path, servers)


@pytest.mark.slow
def test_the_tutorial(reader: PageReader):
    reader.follow(DOCS / "tutorial.md")


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted((DOCS / "how-to").glob("*.md")), ids=lambda page: page.stem)
def test_a_how_to_page_goes_on_with_the_tutorial(page: Path, reader: PageReader):
    reader.take_files(DOCS / "tutorial.md")
    reader.follow(page)


@pytest.mark.slow
def test_the_page_about_nights(reader: PageReader):
    reader.take_files(DOCS / "tutorial.md")
    reader.has_a_tenant()
    reader.follow(DOCS / "scheduling.md")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["README.md", "docs/go-live.md"])
def test_a_page_that_drafts_its_mapping(name: str, reader: PageReader):
    reader.take_files(DOCS / "tutorial.md")
    (reader.home / "shop.yaml").unlink()
    shutil.copytree(REPOSITORY / "sample_data", reader.home / "sample_data")
    reader.follow(REPOSITORY / name)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_page_about_the_local_omneo(reader: PageReader):
    reader.follow(DOCS / "simulator.md")
