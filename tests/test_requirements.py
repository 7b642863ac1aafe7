"""The files of locked versions: what they must hold, and that they agree with each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = {
    "core": [],
    "all": [each for each in PROJECT["optional-dependencies"] if each not in ("test", "docs", "cloud")],
}


def pins(text: str) -> dict[str, str]:
    """Names and versions."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", text, re.M)
    return {canonicalize_name(name): version for name, version in found}


@pytest.fixture(params=EXTRAS)
def lock(request: pytest.FixtureRequest) -> tuple[str, str]:
    return request.param, (ROOT / "requirements" / f"{request.param}.txt").read_text(encoding="utf-8")


def test_every_locked_version_has_hashes(lock: tuple[str, str]):
    parts = re.split(r"\n(?=\S)", lock[1])
    packages = [part for part in parts if not part.startswith("#")]
    assert len(packages) == len(pins(lock[1]))
    assert all("--hash=sha256:" in part for part in packages)


def test_what_the_package_asks_for_is_locked_in_a_version_that_it_takes(lock: tuple[str, str]):
    """Write them again with `make requirements/core.txt requirements/all.txt`."""
    name, text = lock
    wanted = list(PROJECT["dependencies"])
    for extra in EXTRAS[name]:
        wanted += PROJECT["optional-dependencies"][extra]
    locked = pins(text)
    for each in map(Requirement, wanted):
        version = locked.get(canonicalize_name(each.name))
        assert version is not None, each
        assert each.specifier.contains(version), each


def test_users_get_the_versions_that_are_tested(lock: tuple[str, str]):
    tested = pins((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    different = {
        name: (version, tested[name])
        for name, version in pins(lock[1]).items()
        if tested.get(name, version) != version
    }
    assert different == {}


def test_the_image_is_the_one_that_the_example_runs():
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    cronjob = yaml.safe_load((ROOT / "docs" / "examples" / "cronjob.yaml").read_text(encoding="utf-8"))
    pod = cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert f"docker build -t {container['image']} ." in dockerfile
    assert f"USER {pod['securityContext']['runAsUser']}\n" in dockerfile
    copied = re.findall(r"^COPY (?!--from)(.+) /", dockerfile, re.M)
    files = [each for line in copied for each in line.split()]
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert all((ROOT / each).exists() and f"!{each.split('/')[0]}" in allowed for each in files)
