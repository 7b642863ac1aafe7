"""Running a dry run in process, and everything that it left behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.core.events import ignore
from pipeline.core.memory import USUAL, Budget
from pipeline.core.settings import Limit
from pipeline.report.summary import Summary
from pipeline.workflows import prepare as prepare_workflow
from pipeline.workflows.prepare import PrepareOptions, prepare


@dataclass(frozen=True)
class Found:
    """What a dry run staged and set aside: bodies by id, and all text in which a row may be found again."""

    summary: Summary
    bodies: dict[str, dict[str, Any]]
    quarantine: list[dict[str, Any]]
    to_fix: dict[str, str]

    @property
    def set_aside(self) -> str:
        # As JSON and as text: characters may be escaped in one, quotes doubled in the other.
        return "\n".join([*(str(row["raw"]) for row in self.quarantine), *self.to_fix.values()])


def prepared(directory: Path, mapping: str, files: Sequence[Path], budget: Budget = USUAL) -> Found:
    """Prepare these files; the report is not written, and the gate is open."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare_workflow, "write_report", lambda *_, **__: None)
        options = PrepareOptions(max_rejected=Limit("100%", share=Decimal(1)), budget=budget)
        summary = prepare(directory / "work", mapping, [str(file) for file in files], options, ignore).summary
    home = Path(summary.run_dir)
    staged = [row for path in home.glob("staged/*.parquet") for row in _rows(path)]
    bodies = {row["external_id"]: _body(row["body"]) for row in staged}
    assert len(bodies) == len(staged) == summary.transactions.accepted
    quarantine = [row for path in home.glob("quarantine/*.parquet") for row in _rows(path)]
    rows = [path for path in home.glob("quarantine_rows*/**/*") if path.is_file()]
    rows += [path for path in home.glob("quarantine_rows.*") if path.is_file()]
    to_fix = {path.name: _text(path) for path in rows}
    shutil.rmtree(directory / "work")
    return Found(summary, bodies, quarantine, to_fix)


def _rows(path: Path) -> list[dict[str, Any]]:
    return pl.read_parquet(path).to_dicts()


def _text(path: Path) -> str:
    # By content, since a table's file is named as its source was.
    if path.read_bytes()[:4] == b"PAR1":
        return "\n".join(map(str, _rows(path)))
    return path.read_text("utf-8-sig")


def _body(text: str) -> dict[str, Any]:
    return dict(json.loads(text, parse_float=Decimal, parse_int=Decimal))


def in_order(body: dict[str, Any]) -> dict[str, Any]:
    """Items by name and payments by tender, as the independent reading has them."""
    ordered = dict(body)
    if "items" in body:
        ordered["items"] = sorted(body["items"], key=lambda item: str(item["name"]))
    if "payments" in body:
        ordered["payments"] = sorted(body["payments"], key=str)
    return ordered
