import re
import shlex
from pathlib import Path

import click
import pytest

from docs.tools.cli_reference import reference
from pipeline.cli.group import cli

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_page_of_commands_is_fresh() -> None:
    """`make docs` writes it again."""
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == reference()


def commands_in(page: Path) -> list[list[str]]:
    """Every `omneo-import …` line in the page's blocks of code, without its comment."""
    blocks = re.findall(r"```(?:sh|bash|console)?\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    found = [re.search(r"(?:^|[ /])omneo-import (.*)", line) for line in lines]
    return [shlex.split(match[1], comments=True) for match in found if match]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_option_in_the_docs_exists(page: Path) -> None:
    for words in commands_in(page):
        command = cli.commands[words[0]]
        known = {name for each in command.params if isinstance(each, click.Option) for name in each.opts}
        known |= {name for each in command.params for name in each.secondary_opts}
        used = {word.split("=")[0] for word in words[1:] if word.startswith("-")}
        assert used <= known, words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_file_and_folder_that_a_contributor_is_sent_to_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`([a-z_./]+(?:/|\.py|\.toml|\.svg))`", text)
    assert len(named) > 50
    missing = [
        name for name in named if not (ROOT / name).exists() and not (ROOT / "pipeline" / name).exists()
    ]
    assert missing == []
