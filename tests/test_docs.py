import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from docs.tools.cli_reference import reference
from pipeline.cli.group import cli
from pipeline.core.findings import ANOMALY_KINDS
from tests.message_texts import sentences

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


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


def quoted_messages() -> list[str]:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `(.+?)` \|", page, re.M)


@pytest.mark.slow
@pytest.mark.parametrize("message", quoted_messages())
def test_every_message_that_is_explained_is_one_of_the_package(message: str) -> None:
    assert any(message.rstrip(".…") in sentence for sentence in sentences())


def test_the_menu_of_the_site_has_every_page() -> None:
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert set(re.findall(r": ([\w/-]+\.md)$", menu, re.M)) == pages


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """Links and anchors lead somewhere."""
    pytest.importorskip("zensical", reason="needs the extra docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "zensical", "build", "--strict"]
    built = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    assert (tmp_path / "site" / "how-to" / "recovery.html").exists()


def test_a_contributor_finds_every_name_in_the_files_that_stand_beside_it() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## How to add something")[2]
    lost = []
    for places in re.findall(r"^\| [^|]+ \| (.+) \|$", text.partition("## Tests")[0], re.M):
        words = [word for word in re.findall(r"`([^`]+)`", places) if "NAME" not in word]
        files = {
            word: path for word in words for path in (ROOT / word, ROOT / "pipeline" / word) if path.exists()
        }
        code = "".join(path.read_text(encoding="utf-8") for each in files.values() for path in code_in(each))
        lost += [word for word in words if word not in files and word.rpartition(".")[2] not in code]
    assert lost == []


def code_in(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def test_every_anomaly_is_described() -> None:
    page = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
    described = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[^|]+) \|", page, re.M)))
    assert set(described) == set(ANOMALY_KINDS)
