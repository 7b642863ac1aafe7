"""The source rows of the sales that the report shows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

import polars as pl

from pipeline.core.model import LINE, SOURCE, TX
from pipeline.mapping.usage.column_names import used_by_table
from pipeline.mapping.usage.used_columns import personal_columns, staff_columns
from pipeline.report.aggregates import Facts
from pipeline.workflows.preparation.import_plan import ImportPlan
from pipeline.workflows.preparation.judged_partition import JudgedPartition

_MOST_ROWS: Final = 6
"""Source rows that are kept of a sale: more do not fit beside its receipt."""


def with_source_rows(facts: Facts, plan: ImportPlan, judged: JudgedPartition) -> Facts:
    """Add the source rows of a partition's samples: the cells that the mapping uses."""
    wanted = pl.col("external_id").is_in(facts.samples["external_id"].implode())
    chosen = judged.verdict.headers.filter(wanted).select(TX, "external_id")
    members = judged.shaped.members.join(chosen, on=TX).sort(SOURCE, LINE)
    rows = judged.shaped.with_raw(members.with_columns(pl.lit(None, pl.String).alias("raw")))
    used = frozenset().union(*used_by_table(plan.spec).values())
    staff = sorted(staff_columns(plan.spec))
    personal = sorted(personal_columns(plan.spec))
    texts = {
        external_id: json.dumps(
            {
                "personal": personal,
                "staff": staff,
                "more": max(0, of_sale.height - _MOST_ROWS),
                "rows": _cells(of_sale.head(_MOST_ROWS).iter_rows(named=True), plan.short_names, used),
            },
            ensure_ascii=False,
        )
        for (external_id,), of_sale in rows.partition_by("external_id", as_dict=True).items()
    }
    schema = {"external_id": pl.String, "rows": pl.String}
    return facts.with_rows(pl.DataFrame([*texts.items()], schema=schema, orient="row"))


def _cells(
    rows: Iterable[dict[str, Any]], names: Sequence[str], used: frozenset[str]
) -> list[dict[str, Any]]:
    """File, line and cells of each row; blank cells, and those that are not used, are left out."""
    return [
        {
            "source": names[row[SOURCE]],
            "line": row[LINE],
            "cells": {
                name: cell for name, cell in json.loads(row["raw"] or "{}").items() if cell and name in used
            },
        }
        for row in rows
    ]
