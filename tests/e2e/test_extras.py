"""What only some need is installed for nobody else."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipeline.cli.parameters import ENGINE_NAME
from tests.command import REPOSITORY, clean_environment

EXTRA = {
    *("dask", "distributed", "cloudpickle", "psycopg", "psycopg2", "psycopg-binary"),
    *("s3fs", "gcsfs", "adlfs", "boto3", "botocore", "aiobotocore", "moto", "opentelemetry-sdk"),
}


def own(extra: str | None = None) -> list[Requirement]:
    """What pyproject.toml asks for, in the core or in an extra."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


def brought(requirements: list[Requirement]) -> set[str]:
    """Everything that installing these brings along, by what the installed ones say."""
    found: set[str] = set()
    waiting = list(requirements)
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        if name in found:
            continue
        found.add(name)
        try:
            lines = requires(name) or []
        except PackageNotFoundError:  # for another system or Python than this one
            continue
        for child in map(Requirement, lines):
            extras = [{"extra": extra} for extra in one.extras or {""}]
            if child.marker is None or any(child.marker.evaluate(each) for each in extras):
                waiting.append(child)
    return found


def test_the_core_install_brings_none_of_it() -> None:
    core = brought(own())
    assert {"polars", "sqlalchemy"} <= core
    assert core & EXTRA == set()


@pytest.mark.parametrize(
    ("extra", "brings"),
    [
        *[("s3", "s3fs"), ("gs", "gcsfs"), ("az", "adlfs"), ("cloud", "adlfs")],
        *[("postgres", "psycopg"), ("dask", "distributed"), ("otel", "opentelemetry-sdk")],
    ],
)
def test_each_extra_brings_what_its_message_promises(extra: str, brings: str) -> None:
    assert brings in brought(own(extra))


@pytest.mark.slow
def test_nothing_of_it_is_imported_by_a_run_on_one_machine() -> None:
    # Polars itself imports cloudpickle where it is there.
    code = (
        "import sys, pipeline.cli, pipeline.workflows.prepare, "
        "pipeline.engine.local, pipeline.loading.delivery.loader\n"
        f"print(sorted({EXTRA - {'cloudpickle'}!r} & {{name.split('.')[0] for name in sys.modules}}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "[]\n"


@pytest.mark.parametrize("name", ["local", "dask", "dask://10.0.0.1:8786"])
def test_engines_are_named_by_where_they_are(name: str) -> None:
    assert ENGINE_NAME.convert(name, None, None) == name
