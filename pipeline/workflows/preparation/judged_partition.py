"""The rows of one partition as judged transactions with their bodies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import polars as pl

from pipeline.core.codes import Outcome
from pipeline.core.errors import CannotStart, ImportToolError
from pipeline.core.frames import problems_at
from pipeline.core.model import LINE, SOURCE, TX
from pipeline.core.storage.partition_frames import RawTransactions
from pipeline.mapping.compile.file_versions import choose_versions
from pipeline.mapping.functions.polars_errors import POLARS_ERRORS
from pipeline.mapping.layout.raw_transactions import build_transactions
from pipeline.mapping.layout.row_keys import structural_columns
from pipeline.mapping.layout.row_kinds import Tables
from pipeline.mapping.layout.row_numbers import with_row_numbers
from pipeline.staging.manifest import microseconds
from pipeline.staging.payloads import encode
from pipeline.validation.outcomes import ACCEPTED, TransactionOutcomes, decide_outcomes, with_matching_sums
from pipeline.workflows.preparation.import_plan import ImportPlan
from pipeline.workflows.preparation.isolation import unjudged


@dataclass(frozen=True)
class JudgedPartition:
    """The transactions of a partition as they are judged.

    Attributes:
        shaped: The transactions as raw cells.
        left_out: SOURCE and LINE of rows that do not count because those of another file do.
        items: Their items, mapped.
        verdict: What becomes of each.
        staged: The bodies of those that are accepted.
    """

    shaped: RawTransactions
    left_out: pl.DataFrame
    items: pl.DataFrame
    verdict: TransactionOutcomes
    staged: pl.DataFrame


def judge_partition(
    tables: Tables, lost: pl.DataFrame, plan: ImportPlan, conflicts: pl.Series
) -> JudgedPartition:
    """Map, judge and encode the transactions of a partition.

    Transactions on which a computation fails are rejected, so that the rest goes on.

    Args:
        tables: The rows, by table.
        lost: The rows that could not be read.
        plan: What the rows are mapped and judged by.
        conflicts: Hashes of external ids that several transactions of the run have.

    Raises:
        CannotStart: A computation fails on too many transactions, so the mapping must be wrong.
    """
    try:
        return _judge(tables, lost, plan, conflicts)
    except ImportToolError:
        raise
    except POLARS_ERRORS:
        odd = unjudged(tables, partial(_judge, lost=lost, plan=plan, conflicts=conflicts))
        if odd is None:
            raise
        if not odd.all_found:
            raise _too_many(odd.rows, plan) from None
        blanked = odd.blanked(tables, structural_columns(plan.spec))
        judged = _judge(blanked, lost, plan, conflicts, odd.rows)
        # The quarantine shows what was read, not the blank cells.
        return replace(judged, shaped=replace(judged.shaped, rows=tables))


def _judge(
    tables: Tables,
    lost: pl.DataFrame,
    plan: ImportPlan,
    conflicts: pl.Series,
    rejected: pl.DataFrame | None = None,
) -> JudgedPartition:
    tables = with_row_numbers(tables, plan.spec)
    agrees = partial(with_matching_sums, policy=plan.policy)
    chosen = choose_versions(tables, plan.compiled, plan.written, agrees)
    shaped = build_transactions(chosen.tables, plan.spec, pl.concat([chosen.notes, chosen.still_short(lost)]))
    mapped = plan.compiled.apply(shaped)
    if len(conflicts):
        problems = pl.concat([mapped.problems, _conflict_problems(mapped.headers, conflicts)])
        mapped = replace(mapped, problems=problems)
    verdict = decide_outcomes(mapped, plan.policy, plan.started_at)
    if rejected is not None:
        verdict = verdict.rejecting(rejected, "field_invalid")
    accepted = verdict.transactions(ACCEPTED)
    staged = encode(accepted, mapped.items).with_columns(
        *_places(accepted, plan), _warnings(accepted, verdict.reasons)
    )
    return JudgedPartition(shaped, chosen.left_out, mapped.items, verdict, staged)


def _conflict_problems(headers: pl.DataFrame, conflicts: pl.Series) -> pl.DataFrame:
    value = pl.col("external_id")
    return problems_at(
        headers.filter(hash_of(value).is_in(conflicts.implode())),
        "external_id_conflict",
        pl.format("another transaction has the id {} too", value),
        field="external_id",
        value=value,
    )


def hash_of(ids: pl.Expr) -> pl.Expr:
    """The hash by which ids of different partitions are compared, on whatever machine they were staged."""
    return ids.hash(seed=0)


def _places(headers: pl.DataFrame, plan: ImportPlan) -> pl.DataFrame:
    """`source`, `line` and `source_time` of each transaction's first row."""
    # A time in the future would make everything that comes later look older.
    written = [each.file.written and min(each.file.written, plan.started_at) for each in plan.sources]
    times = [time and microseconds(time) for time in written]
    source = headers[SOURCE]
    return pl.DataFrame(
        {
            "source": pl.Series(plan.names, dtype=pl.String).gather(source),
            "line": headers[LINE],
            "source_time": pl.Series(times, dtype=pl.Int64).gather(source),
        }
    )


def _warnings(accepted: pl.DataFrame, reasons: pl.DataFrame) -> pl.Series:
    """The codes of each transaction's warnings, with `;` between them; null where it has none."""
    warned = reasons.filter(pl.col("outcome") == Outcome.WARNING.value).drop_nulls(TX)
    codes = warned.group_by(TX).agg(pl.col("code").unique().sort().str.join(";").alias("warnings"))
    return accepted.select(TX).join(codes, on=TX, how="left", maintain_order="left")["warnings"]


def _too_many(rows: pl.DataFrame, plan: ImportPlan) -> CannotStart:
    source, line, message = rows.select(SOURCE, LINE, "message").row(0)
    return CannotStart(
        f"{plan.names[source]}:{line}: this sale and many others cannot be computed: {message}. "
        "So many mean that the mapping is wrong, not single cells: correct the formula or rule whose "
        "result is too large or does not fit its cells."
    )
