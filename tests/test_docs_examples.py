"""The examples for schedulers, as far as they can be tried here, and the page of events and metrics."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from docs.tools.events_reference import page
from pipeline.cli.group import cli

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "docs" / "examples"
COMMAND = "/usr/local/bin/omneo-import"
NEEDS_A_PERSON = {1, 2, 3, 4}


def test_the_page_of_events_and_metrics_is_fresh() -> None:
    """Fix it with `make docs`."""
    assert (ROOT / "docs" / "events.md").read_text(encoding="utf-8") == page()


def test_every_example_is_described() -> None:
    page = (ROOT / "docs" / "scheduling.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\(examples/([^)]+)\)", page)) == {path.name for path in EXAMPLES.iterdir()}


def understood(words: list[str]) -> dict[str, Any]:
    """A command line without the program's name, as the command line of this version reads it."""
    name, *rest = words
    context = cli.commands[name].make_context(name, rest, resilient_parsing=False)
    return context.params


def text_of(name: str) -> str:
    return (EXAMPLES / name).read_text(encoding="utf-8")


# ── cron ────────────────────────────────────────────────────────────────────────────────────────────


def cron_lines() -> list[list[str]]:
    lines = [line for line in text_of("omneo-import.cron").splitlines() if line and line[0] not in "#"]
    return [line.split(maxsplit=6) for line in lines if not re.match(r"[A-Z_]+=", line)]


def test_cron_reads_the_table() -> None:
    assert len(cron_lines()) == 2
    for *times, user, command in cron_lines():
        assert all(re.fullmatch(r"\*|\d+", each) for each in times)
        assert user == "omneo-import"
        assert not re.search(r"(?<!\\)%", command), "a bare % is a line break to cron"
        shell = command.replace(r"\%", "%")
        assert subprocess.run(["sh", "-n", "-c", shell], check=False).returncode == 0
        words = shlex.split(shell.partition(" > ")[0])
        assert words[0] == COMMAND
        assert understood(words[1:])["workdir"] == Path("/var/lib/omneo-import")


@pytest.mark.parametrize(("code", "success"), [(0, True), (6, True), (3, False), (5, False)])
def test_cron_takes_a_busy_workdir_for_no_failure(tmp_path: Path, code: int, success: bool) -> None:
    stand_in = tmp_path / "omneo-import"
    stand_in.write_text(f"#!/bin/sh\nexit {code}\n", encoding="utf-8")
    stand_in.chmod(0o700)
    command = cron_lines()[0][-1].replace(COMMAND, str(stand_in)).replace(r"\%", "%")
    assert (subprocess.run(["sh", "-c", command], check=False).returncode == 0) is success


# ── systemd ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for name in ("omneo-import.service", "omneo-import.timer"):
        (tmp_path / name).write_text(text_of(name).replace(COMMAND, sys.executable), encoding="utf-8")
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_systemd_tries_again_only_what_passes_by_itself() -> None:
    text = text_of("omneo-import.service").replace("\\\n", " ")
    settings = dict(re.findall(r"^(\w+)=(.*)$", text, re.M))
    assert {int(code) for code in settings["RestartPreventExitStatus"].split()} == NEEDS_A_PERSON
    assert settings["SuccessExitStatus"] == "6"
    words = shlex.split(settings["ExecStart"].replace("%%", "%"))
    params = understood(words[1:])
    assert words[0] == COMMAND
    assert float(settings["TimeoutStopSec"]) > params["grace_s"]
    assert params["max_rejected"].text == "2%"


# ── Kubernetes ────────────────────────────────────────────────────────────────────────────────────


def test_kubernetes_gets_one_job_at_a_time_and_does_not_repeat_what_needs_a_person() -> None:
    spec = yaml.safe_load(text_of("cronjob.yaml"))["spec"]
    job = spec["jobTemplate"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    rules = job["podFailurePolicy"]["rules"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert pod["restartPolicy"] == "Never", "a pod failure policy wants that"
    assert rules[0]["action"] == "FailJob"
    assert set(rules[0]["onExitCodes"]["values"]) == NEEDS_A_PERSON
    params = understood(container["args"])
    assert pod["terminationGracePeriodSeconds"] > params["grace_s"]
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {"/state", "/config", "/secrets"} == mounts
    assert {mount["name"] for mount in container["volumeMounts"]} == {each["name"] for each in pod["volumes"]}


def test_every_option_that_the_page_names_exists() -> None:
    page = (ROOT / "docs" / "scheduling.md").read_text(encoding="utf-8")
    known = {
        name
        for command in cli.commands.values()
        for each in command.params
        if isinstance(each, click.Option)
        for name in each.opts
    }
    assert set(re.findall(r"`?(--[a-z][a-z-]+)", page)) <= known
