"""The command line: what is understood, from where, and what is said where."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from pipeline import __version__
from pipeline.cli.group import cli
from pipeline.testing import LocalOmneo
from tests.command import SAMPLE, SUMMARY_KEYS, call, clean_environment
from tests.receipts import export

COMMANDS = dict(cli.commands)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return export(tmp_path / "pos_lines.csv", 6)


# ── Help ────────────────────────────────────────────────────────────────────────────────────────────


def test_the_commands_are_those_of_the_contract():
    named = (
        "scaffold check preview prepare preflight load run retry confirm listen void status report simulate"
    )
    assert set(named.split()) <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_that_says_what_it_and_its_options_do(name: str):
    for flag in ("--help", "-h"):
        result = call(name, flag)
        assert (result.code, result.stderr) == (0, "")
        assert result.stdout.startswith(f"Usage: omneo-import {name} ")
    command = COMMANDS[name]
    assert command.help
    for parameter in command.params:
        assert isinstance(parameter, click.Argument) or getattr(parameter, "help", None), parameter.name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_its_environment_variable(name: str):
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Option):
            long = next(each for each in parameter.opts if each.startswith("--"))
            assert parameter.envvar == "OMNEO_IMPORT_" + long.strip("-").replace("-", "_").upper()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_the_common_options(name: str):
    options = {each for parameter in COMMANDS[name].params for each in parameter.opts}
    assert {"--workdir", "--json", "--log-format", "-q", "--quiet", "-v", "--verbose"} <= options
    assert not [each for each in options if each in ("--token", "--password", "--secret")]


def test_the_version_and_the_list_of_commands():
    assert call("--version").stdout == f"omneo-import, version {__version__}\n"
    listed = call("--help").stdout
    assert all(f"\n  {name} " in listed for name in COMMANDS)


def test_help_loads_nothing_heavy():
    heavy = (
        "polars",
        "pandera",
        "pyarrow",
        "pandas",
        "numpy",
        "httpx",
        "sqlalchemy",
        "starlette",
        "pydantic",
    )
    code = (
        "import sys; from click.testing import CliRunner; from pipeline.cli import cli; "
        "assert CliRunner().invoke(cli, ['--help']).exit_code == 0; "
        "assert CliRunner().invoke(cli, ['run', '--help']).exit_code == 0; "
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean_environment(), capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_it_can_be_run_as_a_module_from_anywhere(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "--version"],
        env=clean_environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"omneo-import, version {__version__}\n"


# ── Environment variables ───────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_options_from_the_environment_do_what_those_of_the_call_do(source: Path, tmp_path: Path):
    environment = {
        "OMNEO_IMPORT_WORKDIR": str(tmp_path / "from-environment"),
        "OMNEO_IMPORT_MAPPING": "pos_lines",
        "OMNEO_IMPORT_JSON": "1",
        "OMNEO_IMPORT_MEMORY": "64M",
        "OMNEO_IMPORT_MAX_REJECTED": "0",
        "OMNEO_IMPORT_QUIET": "true",
    }
    result = call("prepare", source, env=environment)
    assert (result.code, result.stderr) == (0, "")
    assert Path(result.summary["run_dir"]).is_relative_to(tmp_path / "from-environment")
    closed = call("prepare", SAMPLE, env=environment)
    assert closed.code == 3
    assert call("prepare", SAMPLE, "--max-rejected", "100%", env=environment).code == 0


def test_a_wrong_value_in_the_environment_is_reported(source: Path):
    result = call("prepare", "-m", "pos_lines", source, env={"OMNEO_IMPORT_MEMORY": "much"})
    assert result.code == 2
    assert "'much' is not a size" in result.stderr


@pytest.mark.slow
def test_run_can_be_a_dry_run_by_option_or_environment(source: Path, tmp_path: Path):
    home = ("--workdir", tmp_path / "w", "--json")
    for extra, environment in ((["--dry-run"], {}), ([], {"OMNEO_IMPORT_DRY_RUN": "1"})):
        result = call("run", "-m", "pos_lines", source, *extra, *home, env=environment)
        assert (result.code, result.summary["delivery"]["pending"]) == (0, 6)


@pytest.mark.slow
def test_the_common_options_may_stand_before_the_command(source: Path, tmp_path: Path):
    environment = {"OMNEO_IMPORT_WORKDIR": str(tmp_path / "environment")}
    before = ("--workdir", tmp_path / "before", "--json", "-q")
    result = call(*before, "prepare", "-m", "pos_lines", source, env=environment)
    assert (result.code, result.stderr) == (0, "")
    assert Path(result.summary["run_dir"]).parents[1] == tmp_path / "before"
    after = call(*before, "prepare", "-m", "pos_lines", source, "--workdir", tmp_path / "after")
    assert Path(after.summary["run_dir"]).parents[1] == tmp_path / "after"


def test_a_home_directory_is_one_for_every_command(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for command in (["prepare", "-m", "pos_lines", source], ["status", "latest"], ["report", "latest"]):
        result = call(*command, "--workdir=~/w", "--json")
        assert result.code == 0
        assert Path(result.summary["run_dir"]).parents[1] == tmp_path / "home" / "w"


# ── What is said where ──────────────────────────────────────────────────────────────────────────────


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.slow
def test_with_json_stdout_holds_the_summary_and_nothing_else(source: Path, omneo: LocalOmneo, tmp_path: Path):
    home, environment = ("--workdir", tmp_path / "w", "--json"), omneo.environment()
    for arguments in (
        ["prepare", "-m", "pos_lines", source],
        ["preflight", "latest"],
        ["load", "latest"],
        ["confirm", "latest"],
        ["retry", "latest"],
        ["status", "latest"],
        ["report", "latest"],
        ["void", "latest", "--yes"],
        ["run", "-m", "pos_lines", source],
    ):
        result = call(*arguments, *home, env=environment)
        (summary,) = lines_of(result.stdout)
        own = {"status": {"tenant", "tenants"}, "preflight": {"reactions", "already_there"}}
        keys = SUMMARY_KEYS | own.get(str(arguments[0]), set())
        assert (arguments, result.code, set(summary)) == (arguments, 0, keys)
        assert set(summary["rows"]) == {"read", "malformed", "duplicate", "skipped"}
        assert set(summary["transactions"]) == {"read", "accepted", "dropped", "rejected"}
        assert set(summary["delivery"]) == {
            *("delivered", "unchanged", "refused", "failed", "pending", "in_doubt", "voided", "forgotten")
        }
        assert set(summary["requests"]) == {"sent", "retried", "throttled", "errors"}
        assert sum(summary["delivery"].values()) == summary["transactions"]["accepted"] == 6
        assert json.loads(Path(summary["run_dir"], "report.json").read_text(encoding="utf-8"))
    for arguments in (["check", "-m", "pos_lines"], ["preview", "-m", "pos_lines", source], ["status"]):
        result = call(*arguments, *home)
        assert (result.code, len(lines_of(result.stdout))) == (0, 1)


WRONG_CALLS: list[list[object]] = [
    ["--json", "-q"],
    ["--json", "lod"],
    ["load", "--json"],
    ["load", "latest", "--json", "--nope"],
    ["prepare", "--json", "-m", "pos_lines"],
    ["run", "--json", SAMPLE],
    ["scaffold", "--json"],
    ["prune", "--json"],
    ["status", "--json", "--log-format", "yaml"],
    *([name, "latest", "--json"] for name in ("load", "retry", "confirm", "preflight", "void", "report")),
    *([name, "--json", "-m", "none.yaml", SAMPLE] for name in ("check", "preview", "prepare")),
]


@pytest.mark.parametrize("arguments", WRONG_CALLS, ids=str)
def test_with_json_an_error_is_one_object_too(
    arguments: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    environment = {"OMNEO_BASE_URL": "http://127.0.0.1:9/api/v3", "OMNEO_TOKEN": "t"}
    result = call(*arguments, env=environment)
    (reported,) = lines_of(result.stdout)
    assert (result.code, reported["exit_code"]) == (2, 2)
    assert reported["error"].splitlines()[0] in result.stderr
    asked = {**environment, "OMNEO_IMPORT_JSON": "yes"}
    assert call(*(each for each in arguments if each != "--json"), env=asked).stdout == result.stdout
    assert list(tmp_path.iterdir()) == []


def test_with_json_a_void_that_was_not_wanted_is_reported_as_the_run_stands(source: Path, tmp_path: Path):
    home = ("--workdir", tmp_path / "w", "--json")
    assert call("prepare", "-m", "pos_lines", source, *home).code == 0
    declined = call("void", "latest", *home, answer="n\n")
    assert (declined.code, set(declined.summary)) == (0, SUMMARY_KEYS)


def test_without_json_people_read_the_summary_on_stdout(source: Path, tmp_path: Path):
    result = call("prepare", "-m", "pos_lines", source, "--workdir", tmp_path / "w")
    assert "6 read, 6 accepted, 0 dropped, 0 rejected" in result.stdout
    assert "omneo-import load" in result.stdout
    assert "prepare: " in result.stderr
    assert "accepted" not in result.stderr


@pytest.mark.slow
def test_with_json_logs_every_line_of_stderr_is_json(source: Path, omneo: LocalOmneo, tmp_path: Path):
    home = ("--workdir", tmp_path / "w", "--log-format", "json")
    for extra in ([], ["--json"], ["-v", "--json"]):
        result = call("run", "-m", "pos_lines", source, *home, *extra, env=omneo.environment())
        events = lines_of(result.stderr)
        assert {each["event"] for each in events} >= {
            "run_started",
            "stage_started",
            "stage_finished",
            "run_finished",
        }
        assert len({each["run_id"] for each in events}) == 1
    refused = call("run", "-m", "pos_lines", source, *home, env={**omneo.environment(), "OMNEO_TOKEN": "x"})
    assert lines_of(refused.stderr)
    omneo.set_faults(refused_share=1)
    changed = export(tmp_path / "pos_lines_2.csv", 7)
    failed = call("run", "-m", "pos_lines", changed, *home, "--json", env=omneo.environment())
    assert (failed.code, bool(lines_of(failed.stderr))) == (4, True)


@pytest.mark.slow
def test_quiet_says_nothing_when_all_is_well_and_verbose_says_more(source: Path, tmp_path: Path):
    home = ("--workdir", tmp_path / "w")
    quiet = call("prepare", "-m", "pos_lines", source, *home, "-q")
    assert (quiet.code, quiet.stdout, quiet.stderr) == (0, "", "")
    plain = call("prepare", "-m", "pos_lines", source, *home)
    verbose = call("prepare", "-m", "pos_lines", source, *home, "-v")
    assert "prepare: started" in verbose.stderr
    assert "prepare: started" not in plain.stderr
    result = call("prepare", "-m", "pos_lines", tmp_path / "none.csv", *home, "-q")
    assert (result.code, "does not exist" in result.stderr) == (2, True)


def test_looking_leaves_nothing_behind(tmp_path: Path):
    looked = call("status", "--workdir", tmp_path / "nowhere")
    assert (looked.code, "no runs yet" in looked.stdout) == (0, True)
    call("status", "latest", "--workdir", tmp_path / "nowhere")
    call("report", "latest", "--workdir", tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_text_from_data_cannot_drive_the_terminal(tmp_path: Path):
    hostile = "pos_lines_\x1b[2J\x07.csv"
    home = ("--workdir", tmp_path / "w")
    source = export(tmp_path / hostile, 2)
    results = [
        call("prepare", "-m", "pos_lines", source, *home),
        call("prepare", "-m", "pos_lines", tmp_path / f"no{hostile}", *home),
        call("preview", "-m", "pos_lines", source, *home),
    ]
    for result in results:
        assert "\x1b" not in result.stdout + result.stderr
        assert "\x07" not in result.stdout + result.stderr


# ── Preview ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_preview_shows_payloads_beside_their_rows(source: Path, tmp_path: Path):
    result = call("preview", "-m", "pos_lines", source, "-n", 2)
    assert result.code == 0
    assert result.stdout.index(f"# {source}:2 ") < result.stdout.index('"external_id": "S1-1-R0"')
    assert '"external_id": "S1-1-R1"' in result.stdout
    assert '"external_id": "S1-1-R2"' not in result.stdout
    found = call(
        "preview", "-m", "pos_lines", SAMPLE, "-n", 1000, "--json", "--workdir", tmp_path / "w"
    ).summary
    assert len(found["payloads"]) == 286
    assert {each["outcome"] for each in found["reasons"]} == {"dropped", "rejected"}
    assert not (tmp_path / "w").exists()


def test_everything_written_is_private_whatever_the_umask(source: Path, tmp_path: Path):
    (tmp_path / "w").mkdir(mode=0o755)
    (tmp_path / "w").chmod(0o755)
    assert call("prepare", "-m", "pos_lines", source, "--workdir", tmp_path / "w").code == 0
    assert (tmp_path / "w").stat().st_mode & 0o077 == 0


# ── Marks of a draft ────────────────────────────────────────────────────────────────────────────────

DRAFT = """\
mapping: m
source: {layout: headers, key: [id]}
transaction:
  external_id: id
  total: total  # unsure: with tax?
  staff_id: '# unsure is only text here'
  transacted_at:
    column: at  # unsure
    then: [{datetime: {formats: [iso], timezone: {constant: UTC}}}]
"""


@pytest.fixture
def drafted(tmp_path: Path) -> Path:
    (tmp_path / "s.csv").write_text("id,total,at,# unsure is only text here\n1,2.00,2024-01-01 10:00,x\n")
    (tmp_path / "m.yaml").write_text(DRAFT)
    return tmp_path


def test_check_counts_what_is_still_unsure(drafted: Path):
    result = call("check", "-m", drafted / "m.yaml", drafted / "s.csv", "--json")
    assert result.code == 0
    assert json.loads(result.stdout)["unsure"] == 2
    assert re.search(r"2 values are marked unsure: line \d+, \d+$", result.stderr, re.M)


@pytest.mark.slow
def test_a_run_of_an_unsure_mapping_is_not_called_ready(drafted: Path, omneo: LocalOmneo):
    workdir = drafted / "w"
    prepared = call("prepare", "-m", drafted / "m.yaml", drafted / "s.csv", "--workdir", workdir)
    assert prepared.code == 0
    for said in (prepared, call("status", "latest", "--workdir", workdir)):
        assert "Not decided: 2 values of the mapping still marked unsure" in said.stdout + said.stderr
        assert "Ready" not in said.stdout + said.stderr
    page = next(workdir.glob("runs/*/report.html")).read_text(encoding="utf-8")
    assert "2 values of the mapping still marked unsure" in page
    assert "Ready to load" not in page
    sent = call("load", "latest", "--workdir", workdir, "--reactions", "allow", env=omneo.environment())
    assert "2 values of its mapping are still marked unsure" in sent.stderr


@pytest.mark.parametrize("command", ["check", "prepare", "preview"])
def test_an_open_value_runs_nothing(drafted: Path, command: str):
    text = DRAFT.replace("total: total", "total: {open: which of three columns}")
    (drafted / "m.yaml").write_text(text)
    result = call(command, "-m", drafted / "m.yaml", drafted / "s.csv")
    assert result.code == 2
    assert "m.yaml:5:10: `total` is open (which of three columns): write the column" in result.stderr
