"""What the report of a run says besides its numbers: causes, control totals, anomalies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import polars as pl

from pipeline.core.codes import CODES, Code, Outcome
from pipeline.core.findings import Anomaly, ControlRow, Occurrence, RootCause
from pipeline.core.text.wording import count
from pipeline.report.aggregates import Facts
from pipeline.validation.anomalies.date_formats import contradictions
from pipeline.validation.anomalies.detection import find_anomalies
from pipeline.validation.anomalies.missing_days import EVERYWHERE, missing_days
from pipeline.validation.anomalies.observations import Observations, estimated_people
from pipeline.validation.control_totals import compare_totals
from pipeline.validation.root_causes import root_causes
from pipeline.workflows.preparation.import_plan import ImportPlan
from pipeline.workflows.preparation.measurements import Measurements

MOST_COLUMNS = 12
"""Unmapped columns that are named."""


def run_warnings(
    plan: ImportPlan, measurements: Measurements, *, replaced: int, repeated_items: int
) -> dict[str, int]:
    """Warnings about the run as a whole, and how often; without those that the mapping turns off.

    Args:
        plan: The plan.
        measurements: Of the whole run.
        replaced: Rows with characters that could not be read.
        repeated_items: Ids of items that several sales have.
    """
    numbers = {
        "encoding_replaced": replaced,
        "item_external_id_repeated": repeated_items,
        "formats_disagree": sum(each.sales for each in contradictions(measurements.observations)),
    }
    return {
        code: number for code, number in numbers.items() if number and plan.policy.severity(code) != "off"
    }


def all_causes(
    plan: ImportPlan, measurements: Measurements, warnings: dict[str, int]
) -> tuple[RootCause, ...]:
    """Why transactions were rejected or dropped, and what else a person should know of the rows.

    Args:
        plan: The plan.
        measurements: Of the whole run.
        warnings: About the run as a whole; see `run_warnings`.
    """
    of_reasons = _with_copies(
        root_causes(measurements.groups, plan.short_names), measurements.observations.copies, plan.short_names
    )
    return (*of_reasons, *_of_columns(plan), *_of_run(measurements, warnings))


_MOST_COPIES: Final = 3
"""Pairs of files that are named."""


def _with_copies(
    causes: Sequence[RootCause], copies: pl.DataFrame, names: Sequence[str]
) -> Iterator[RootCause]:
    """The causes, of which that of copied rows says which file repeats which.

    A sale in several files that is there as a copy alone is not named again.
    """
    pairs = copies.sort("rows", "copy", "kept", descending=[True, False, False]).rows(named=True)
    parts = [
        f"{names[each['copy']]} repeats {count(each['sales'], 'sale')}"
        + (f" of {names[each['kept']]}" if each["copy"] != each["kept"] else " of its own")
        + f" ({count(each['rows'], 'row', 'was')} left out)"
        for each in pairs[:_MOST_COPIES]
    ]
    more = f"; and so do {count(len(pairs) - len(parts), 'more file')}" if len(pairs) > len(parts) else ""
    in_two_files = sum(each["sales"] for each in pairs if each["copy"] != each["kept"])
    for cause in causes:
        if cause.code == "duplicate_row" and parts:
            fix = f"Nothing to do, no sale is counted twice: {'; '.join(parts)}{more}."
            yield replace(cause, fix=fix)
        elif cause.code != "older_version" or cause.transactions != in_two_files:
            yield cause


def _of_columns(plan: ImportPlan) -> Iterator[RootCause]:
    """Columns that the mapping does not use, a cause a table."""
    about = CODES["unmapped_column"]
    for table, names in plan.unmapped.items():
        file = next(plan.short_names[each.position] for each in plan.sources if each.table == table)
        others = sum(each.table == table for each in plan.sources) - 1
        where = f", here and in {count(others, 'more file')}" if others else ""
        examples = tuple(
            Occurrence(name, f"`{name}` is not used{where}", file, 1) for name in names[:MOST_COLUMNS]
        )
        yield _warning(about, len(names), about.fix, examples)


def _of_run(measurements: Measurements, warnings: dict[str, int]) -> Iterator[RootCause]:
    """A cause for each warning about the run as a whole."""
    evidence = [f" {each.evidence}." for each in contradictions(measurements.observations)]
    for code, number in warnings.items():
        about = CODES[code]
        fix = "".join([about.fix, *(evidence if code == "formats_disagree" else ())])
        yield _warning(about, number, fix)


def _warning(about: Code, number: int, fix: str, examples: Sequence[Occurrence] = ()) -> RootCause:
    return RootCause(
        outcome=Outcome.WARNING.value,
        code=about.name,
        title=about.title,
        field=None,
        shape=None,
        transactions=number,
        fix=fix,
        examples=examples,
    )


def control_rows(plan: ImportPlan, measurements: Measurements) -> tuple[ControlRow, ...]:
    """The control totals beside what was found."""
    if plan.control is None:
        return ()
    return tuple(compare_totals(plan.control, [measurements.totals]))


def statistical_findings(plan: ImportPlan, measurements: Measurements) -> tuple[Anomaly, ...]:
    """The statistical warnings."""
    return tuple(find_anomalies(measurements.observations, plan.short_names))


_MOST_DAYS: Final = 62
"""Distinct days up to which sales are kept by day: a longer time is shown by month."""
_MOST_STORES: Final = 1_000
"""Stores whose months and hours are kept, those with the most sales: no chain in Omneo has more."""
_MOST_TENDERS: Final = 100
"""Ways to pay that are kept, those used most: more come from a column that is none, mapped by mistake."""


def of_whole_run(facts: Facts, observed: Observations) -> Facts:
    """Add what only the whole run can show: missing days, hours and days of each store, customers.

    Args:
        facts: Of the whole run.
        observed: Of the whole run.
    """
    # A column that is no store, mapped by mistake, may have a million of them.
    largest = observed.stores.top_k(_MOST_STORES, by="sales")["store"].implode()
    is_kept = pl.col("store").is_in(largest) | pl.col("store").is_null()
    day = pl.col("day")
    few_days = observed.days["day"].n_unique() <= _MOST_DAYS
    period = day if few_days else day.dt.month_start()
    periods = (
        observed.days.filter(is_kept)
        .group_by("store", period.alias("period"))
        .agg(pl.col("sales").sum(), pl.len().alias("days"))
        .with_columns(pl.col("period").dt.strftime("%Y-%m-%d" if few_days else "%Y-%m"))
        .sort("store", "period", nulls_last=True)
    )
    missing = missing_days(observed)
    gaps = missing.gaps.with_columns(
        pl.col("store").replace(EVERYWHERE, None),
        pl.col("first", "last").dt.strftime("%Y-%m-%d"),
        pl.col("usual").round(),
    )
    tables = {
        "periods": periods,
        "hours": observed.hours.filter(is_kept).sort("store", "hour", nulls_last=True),
        "gaps": gaps,
        "unjudged": missing.unjudged,
        "tenders": facts.tenders.top_k(_MOST_TENDERS, by="payments"),
        "customers": observed.people.group_by("sales").agg(pl.len().alias("customers")).sort("sales"),
    }
    cast: dict[str, Any] = {name: frame.cast(getattr(facts, name).schema) for name, frame in tables.items()}
    return replace(facts, **cast, people=estimated_people(observed))
