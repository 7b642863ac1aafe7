"""Compiled templates: kept apart by what they were compiled with, and never trusted blindly."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from jinja2 import DictLoader, Environment

from pipeline.report.compiled_templates import CompiledTemplates


def rendered(directory: Path, text: str = "{{ '<' }}", *, escaped: bool = False) -> str:
    kept = CompiledTemplates("html" if escaped else "text", directory)
    loader = DictLoader({"page": text})
    environment = Environment(loader=loader, autoescape=escaped, bytecode_cache=kept)
    return environment.get_template("page").render()


@pytest.fixture(autouse=True)
def _compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)


def test_a_template_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    directory = tmp_path / "kept"
    assert rendered(directory) == "<"
    assert len(list(directory.iterdir())) == 1
    monkeypatch.setattr(Environment, "_generate", None)  # compiling would fail
    assert rendered(directory) == "<"


def test_another_text_or_another_way_to_escape_is_another_program(tmp_path: Path):
    assert rendered(tmp_path) == "<"
    assert rendered(tmp_path, escaped=True) == "&lt;"
    assert rendered(tmp_path, "changed") == "changed"
    assert rendered(tmp_path) == "<"


def test_a_damaged_file_is_written_again(tmp_path: Path):
    rendered(tmp_path)
    (kept,) = tmp_path.iterdir()
    whole = kept.read_bytes()
    for damaged in (b"", b"nonsense", whole[: len(whole) // 2]):
        kept.write_bytes(damaged)
        assert rendered(tmp_path) == "<"
        assert kept.read_bytes() == whole


def test_where_nothing_can_be_written_each_process_compiles(tmp_path: Path):
    (tmp_path / "file").touch()
    assert rendered(tmp_path / "file") == "<"
