"""The page about Python and the examples for Airflow and Dagster do what they say, with a local Omneo.

Neither library is installed: a few lines stand for each, so that the bodies of the examples run.
"""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import pipeline
from docs.tools.api_reference import with_reference
from pipeline.testing import LocalOmneo
from tests.command import REPOSITORY
from tests.receipts import export, receipt, write_export

PAGE = (REPOSITORY / "docs" / "python.md").read_text(encoding="utf-8")


def test_the_reference_is_fresh():
    assert with_reference(PAGE) == PAGE, "run `python -m docs.tools.api_reference`"


@pytest.mark.slow
def test_the_page_runs(tmp_path: Path, omneo: LocalOmneo, monkeypatch: pytest.MonkeyPatch, capsys):
    (tmp_path / "exports").mkdir()
    export(tmp_path / "exports" / "pos_lines.csv", 3)
    (tmp_path / "shop.yaml").write_bytes((REPOSITORY / "mappings" / "pos_lines.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    for name, value in omneo.environment().items():
        monkeypatch.setenv(name, value)
    guide = PAGE.partition("<!--")[0]
    blocks = re.findall(r"```python\n(.*?)```", guide, re.S)
    exec(compile(blocks[0], "python.md", "exec"), names := {})
    assert capsys.readouterr().out == "3 of 3\n0 0 0\n"
    monkeypatch.setitem(names, "prepare", lambda *_, emit: emit(pipeline.Notice("code", "A sentence.")))
    for block in blocks[1:]:
        exec(compile(block, "python.md", "exec"), names)
    assert capsys.readouterr().out == "A sentence.\n"


class Skipped(Exception):
    pass


class FailedForGood(Exception):
    pass


class Failure(Exception):
    """As Dagster's."""

    def __init__(self, description: str, *, allow_retries: bool) -> None:
        super().__init__(description)
        self.allow_retries = allow_retries


def unchanged(*given: Any, **_: Any) -> Any:
    """A decorator with or without arguments that leaves the function as it is."""
    return given[0] if given else unchanged


def airflow() -> tuple[dict[str, ModuleType], dict[str, Callable[..., Any]]]:
    """What the example imports of Airflow, and the tasks that it declares."""
    tasks: dict[str, Callable[..., Any]] = {}

    def task(**_: Any) -> Callable[..., Any]:
        def declare(function: Callable[..., Any]) -> Callable[..., Any]:
            tasks[function.__name__] = function
            return lambda *_: None

        return declare

    sdk, exceptions = ModuleType("airflow.sdk"), ModuleType("airflow.sdk.exceptions")
    vars(sdk).update(dag=unchanged, task=task)
    vars(exceptions).update(AirflowFailException=FailedForGood, AirflowSkipException=Skipped)
    modules = {"airflow": ModuleType("airflow"), "airflow.sdk": sdk, "airflow.sdk.exceptions": exceptions}
    return modules, tasks


def dagster() -> ModuleType:
    module = ModuleType("dagster")
    as_values = dict.fromkeys(("RetryPolicy", "Out", "ScheduleDefinition", "Definitions"), SimpleNamespace)
    vars(module).update(as_values, op=unchanged, job=unchanged, Failure=Failure)
    vars(module).update(Out=lambda *_, **__: None, Output=lambda value: value, OpExecutionContext=object)
    return module


class Night:
    """One night's import as an example does it: its three parts, with the settings of the test."""

    def __init__(self, name: str, tmp_path: Path, omneo: LocalOmneo, patch: pytest.MonkeyPatch) -> None:
        self.exports = tmp_path / "exports"
        self.exports.mkdir()
        token = tmp_path / "token"
        token.write_text(omneo.token, encoding="utf-8")
        modules, self.tasks = airflow()
        for module_name, module in {**modules, "dagster": dagster()}.items():
            patch.setitem(sys.modules, module_name, module)
        settings = {
            "TENANT": {"OMNEO_BASE_URL": omneo.base_url},
            "TOKEN_FILE": token,
            "MAPPING": "pos_lines",
            "SOURCES": [str(self.exports)],
            "WORKDIR": tmp_path / "w",
            "timedelta": lambda **_: pipeline.FileSelection().settle,  # its files may be of this moment
        }
        loaded = runpy.run_path(str(REPOSITORY / "docs" / "examples" / f"{name}.py"))
        self.is_airflow = name == "airflow_dag"
        if not self.is_airflow:
            self.tasks = {each: loaded[each] for each in ("prepare_sales", "load_sales", "confirm_sales")}
        for function in (*self.tasks.values(), loaded["target_of"]):
            missing = [each for each in settings if each not in function.__globals__]
            assert missing == []
            function.__globals__.update(settings)
        self.context = SimpleNamespace(log=SimpleNamespace(info=lambda _: None))

    def prepare(self) -> str | None:
        if self.is_airflow:
            return self.tasks["prepare_sales"]()
        return next(self.tasks["prepare_sales"](self.context), None)

    def load(self, run_id: str) -> None:
        self._on_run("load_sales", run_id)

    def confirm(self, run_id: str) -> None:
        self._on_run("confirm_sales", run_id)

    def _on_run(self, task: str, run_id: str) -> None:
        self.tasks[task](*([] if self.is_airflow else [self.context]), run_id)


@pytest.fixture(params=["airflow_dag", "dagster_job"])
def night(
    request: pytest.FixtureRequest, tmp_path: Path, omneo: LocalOmneo, monkeypatch: pytest.MonkeyPatch
) -> Night:
    return Night(request.param, tmp_path, omneo, monkeypatch)


@pytest.mark.slow
def test_a_night_is_prepared_sent_and_confirmed_and_the_next_one_has_nothing_new(
    night: Night, omneo: LocalOmneo
):
    export(night.exports / "pos_lines.csv", 3)
    run_id = night.prepare()
    assert run_id
    night.load(run_id)
    assert omneo.stats()["transactions"] == 3
    night.confirm(run_id)
    if night.is_airflow:
        with pytest.raises(Skipped, match="Nothing new"):
            night.prepare()
    else:
        assert night.prepare() is None


@pytest.mark.slow
def test_the_gate_and_a_wrong_token_need_a_person_and_an_outage_passes(night: Night, omneo: LocalOmneo):
    write_export(night.exports / "pos_lines.csv", receipt(1, sale_total="x"))
    with pytest.raises((FailedForGood, Failure), match="exit code 3") as gate:
        night.prepare()
    assert not getattr(gate.value, "allow_retries", False)

    export(night.exports / "pos_lines.csv", 2)
    run_id = night.prepare()
    assert run_id
    omneo.set_faults(outage=True, outage_status=401)
    with pytest.raises((RuntimeError, Failure), match="exit code 5") as outage:
        night.load(run_id)
    assert getattr(outage.value, "allow_retries", True)
    omneo.set_faults(outage=False)
    night.load(run_id)
    assert omneo.stats()["transactions"] == 2
