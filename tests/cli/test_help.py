"""The pages of `--help`, and what a shell offers."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from pipeline.cli.group import cli
from pipeline.cli.help_page import COMMON, HEADINGS, by_heading
from tests.command import call
from tests.receipts import export

COMMANDS = sorted(cli.commands)


def headings_of(name: str) -> list[str]:
    return re.findall(r"^([A-Z].*):$", call(name, "--help").stdout, re.M)


@pytest.mark.parametrize("name", COMMANDS)
def test_common_options_stand_last_below_a_heading_of_their_own(name: str):
    page = call(name, "--help").stdout
    assert headings_of(name)[-1] == "Common options"
    assert page.index("--workdir") > page.index("Common options:")
    assert page.rstrip().splitlines()[-1].lstrip().startswith("-h, --help")
    assert max(map(len, page.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_an_example_that_the_command_understands(name: str):
    about, _, example = inspect.cleandoc(cli.commands[name].help or "").partition("Example:\n")
    lines = [line.split() for line in example.splitlines() if line.strip()]
    assert about
    assert lines
    for program, command, *rest in lines:
        assert (program, command) == ("omneo-import", name)
        cli.commands[name].make_context(name, rest)


@pytest.mark.parametrize("name", COMMANDS)
def test_no_option_is_explained_by_the_name_of_a_python_type(name: str):
    assert not re.search(r"INTEGER|FLOAT|TEXT|<=", call(name, "--help").stdout)


@pytest.mark.parametrize("name", ["run", "load", "retry", "simulate"])
def test_long_lists_of_options_are_grouped(name: str):
    assert all(len(options) <= 16 for options in by_heading(cli.commands[name].params).values())


def test_the_help_of_all_fits_a_terminal():
    assert max(map(len, call("--help").stdout.splitlines())) <= 80


def test_every_heading_has_an_option():
    used = {heading for command in cli.commands.values() for heading in by_heading(command.params)}
    assert used | {COMMON} == {*HEADINGS}


def offered(*words: str) -> list[str]:
    *before, typed = words
    complete = BashComplete(cli, {}, "omneo-import", "_OMNEO_IMPORT_COMPLETE")
    return [each.value for each in complete.get_completions(before, typed)]


def test_a_shell_offers_commands_and_options():
    assert offered("pre") == ["preview", "prepare", "preflight"]
    assert offered("load", "--re") == ["--revive", "--reactions"]


@pytest.mark.slow
def test_a_shell_offers_the_runs_of_the_working_directory(tmp_path: Path):
    source, workdir = export(tmp_path / "pos_lines.csv", 2), str(tmp_path / "w")
    first, second = (
        call("prepare", "-m", "pos_lines", source, "--workdir", workdir, "--json").summary["run_id"]
        for _ in range(2)
    )
    (tmp_path / "w" / "runs" / "20990101T000000-0000").mkdir()  # was never finished
    assert offered("load", "--workdir", workdir, "") == ["latest", second, first]
    assert offered("status", "--workdir", workdir, second[:-1])[0] == second


def test_a_shell_offers_mappings_shipped_and_in_this_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.yaml").touch()
    assert offered("run", "-m", "shop") == ["shop.yaml", "shopify_orders", "shopware_orders"]
    assert offered("scaffold", "--from", "shop") == ["shopify_orders", "shopware_orders"]
