"""The report as plain values: what `report.json` holds, and all that the page and the markdown show.

Personal data is masked here, once, so that no form of the report can forget to.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any, Final

import polars as pl

from pipeline.core.codes import Outcome
from pipeline.core.findings import ControlRow, Occurrence, RootCause, Sums
from pipeline.core.text.no_person import NO_PERSON
from pipeline.core.text.privacy import (
    mask_body,
    mask_json,
    mask_message,
    mask_text,
    mask_value,
    mask_values,
    mask_whole,
    personal_values,
    without_marks,
)
from pipeline.report.aggregates import ACCEPTED, Facts
from pipeline.report.data import FieldsInOmneo, ReportData, TenantAnswer
from pipeline.report.heat_maps import NO_STORE
from pipeline.report.outcome_tables import changes, check_results, where_everything_is
from pipeline.report.summary import Summary, decimal_text, totals_of
from pipeline.report.verdict import RunVerdict, judge

OUTCOMES: Final = (ACCEPTED, Outcome.DROPPED.value, Outcome.REJECTED.value)
RATES_PER_MIN: Final = (300, 1000, 3000)
"""Shown where no rate is known; the documented throttle is 1,000 a minute by example only."""


def overview(
    summary: Summary,
    verdict: RunVerdict,
    *,
    causes: Sequence[RootCause] = (),
    preflight: Sequence[TenantAnswer] | None = None,
    fields: FieldsInOmneo | None = None,
    show_personal_data: bool = False,
) -> dict[str, Any]:
    """The part of the view that needs no facts, and all that the terminal shows."""
    return {
        **summary.as_dict(),
        "tenant": summary.tenant,
        "personal_data_shown": show_personal_data,
        "verdict": {**asdict(verdict), "next": verdict.next},
        "causes": [asdict(cause) for cause in (shown(causes) if show_personal_data else masked(causes))],
        "preflight": None if preflight is None else [asdict(answer) for answer in preflight],
        "fields": asdict(fields or FieldsInOmneo()),
    }


def view(data: ReportData, *, show_personal_data: bool = False) -> dict[str, Any]:
    """All that `report.json` holds and the templates show: the summary's keys first, the facts after them."""
    facts = data.facts
    return {
        **overview(
            data.summary,
            judge(data),
            causes=data.causes,
            preflight=data.preflight,
            fields=data.fields,
            show_personal_data=show_personal_data,
        ),
        "gate": None if data.gate is None else {"limit": data.gate.allowed, "closed": data.gate.closed},
        "currency": facts.currency,
        "where": where_everything_is(data),
        "loading": data.loading,
        "unsure": data.unsure,
        "replaced_by": data.replaced_by,
        "period": _period(facts),
        "voids": _voids(facts),
        "left_out": _left_out(facts),
        "tenders": [
            {**row, "tender": mask_text(json.loads(row["tender"])), "total": decimal_text(row["total"])}
            for row in facts.tenders.sort("payments", "tender", descending=[True, False]).to_dicts()
        ],
        "by_month": _grouped(facts.totals, ["month", "currency"]),
        "by_store": _grouped(facts.totals, ["store", "currency"]),
        "by_currency": _grouped(facts.totals, ["currency"]),
        "by_day": _grouped(facts.days, ["day", "currency"]),
        "controls": [_control(row) for row in data.controls],
        "completeness": facts.fields.to_dicts(),
        "profiles": facts.profiles.sort("transactions", descending=True).to_dicts(),
        "periods": _periods(facts),
        "gaps": facts.gaps.to_dicts(),
        "unjudged": facts.unjudged.to_dicts(),
        "hours": _hours(facts),
        "customers": {
            "number": facts.people,
            # Where only a sample of customers was counted, their sum is less than the estimate.
            "estimated": facts.people > facts.customers["customers"].sum(),
            "by_sales": facts.customers.to_dicts(),
        },
        "findings": [asdict(finding) for finding in data.findings],
        "checks": check_results(data),
        "patterns": dict(data.patterns),
        "previous": None if data.previous is None else asdict(data.previous),
        "changes": [*changes(data)],
        "clock": facts.clock.to_dicts(),
        "samples": _samples(facts, show_personal_data),
        "prediction": _prediction(data),
        "provenance": asdict(data.provenance),
    }


def _grouped(totals: pl.DataFrame, by: list[str]) -> list[dict[str, Any]]:
    """One row a group, in order: for each outcome the transactions and the exact sum as text.

    Of accepted transactions also guests, returns and voids; None where an older version did not count them.
    """
    counted = [name for name in ("transactions", "total", *_COUNTED_TOO) if name in totals.columns]
    wide = (
        totals.group_by(by)
        .agg(
            # A sum of nulls is 0, but what an older version did not count is not known.
            pl.when(pl.col(name).null_count() == 0)
            .then(pl.col(name).filter(outcome=outcome).sum())
            .alias(f"{outcome}|{name}")
            for outcome in OUTCOMES
            for name in counted
        )
        .sort(by, nulls_last=True)
    )
    names = {outcome: counted if outcome == ACCEPTED else counted[:2] for outcome in OUTCOMES}
    amounts = {name for name in counted if totals.schema[name].is_decimal()}
    return wide.select(
        pl.col(by).cast(pl.String),
        *(
            pl.struct(
                (_amount_text(f"{outcome}|{name}") if name in amounts else pl.col(f"{outcome}|{name}")).alias(
                    name
                )
                for name in names[outcome]
            ).alias(outcome)
            for outcome in OUTCOMES
        ),
    ).to_dicts()


def _amount_text(column: str) -> pl.Expr:
    """As `decimal_text`, of a whole column: there may be thousands of days."""
    return pl.col(column).cast(pl.Decimal(38, 4)).cast(pl.String).str.replace("0{1,2}$", "")


_COUNTED_TOO: Final = ("guests", "returns", "returned", "voids", "void_total")


def _period(facts: Facts) -> dict[str, str] | None:
    """The first and the last day of the accepted transactions, else of all; None where none has a date."""
    days = facts.days.drop_nulls("day").sort("day")
    accepted = days.filter(outcome=ACCEPTED)
    some = days if accepted.is_empty() else accepted
    return None if some.is_empty() else {"first": some["day"][0], "last": some["day"][-1]}


def _voids(facts: Facts) -> dict[str, Any] | None:
    """Void sales among the accepted, and what they add to the worth; None where they were not counted."""
    accepted = facts.totals.filter(outcome=ACCEPTED)
    if accepted["voids"].null_count():
        return None
    sums = accepted.group_by("currency").agg(pl.col("void_total").sum())
    return {
        "transactions": accepted["voids"].sum(),
        "worth": totals_of({"void": dict(sums.iter_rows())})["void"],
    }


def _left_out(facts: Facts) -> dict[str, Any] | None:
    """Accepted transactions with lines that the mapping leaves out, and their worth; None for none."""
    if facts.left_out.is_empty():
        return None
    sums = dict(facts.left_out.select("currency", "total").iter_rows())
    return {
        "transactions": facts.left_out["transactions"].sum(),
        "worth": totals_of({"left_out": sums})["left_out"],
    }


def _periods(facts: Facts) -> dict[str, dict[str, list[int]]]:
    """By store, and local day or month: sales, and days with sales."""
    found: dict[str, dict[str, list[int]]] = {}
    for store, period, sales, days in facts.periods.drop_nulls("period").iter_rows():
        found.setdefault(NO_STORE if store is None else store, {})[period] = [sales, days]
    return found


def _hours(facts: Facts) -> dict[str, list[int]]:
    """By store: sales of each of the 24 hours."""
    found: dict[str, list[int]] = {}
    for store, hour, sales in facts.hours.iter_rows():
        found.setdefault(NO_STORE if store is None else store, [0] * 24)[hour] = sales
    return found


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _control(row: ControlRow) -> dict[str, Any]:
    parts: Mapping[str, Sums] = {
        "expected": row.expected,
        "read": row.read,
        "difference": row.difference,
        "staged": row.staged,
        "dropped": row.dropped,
        "rejected": row.rejected,
    }
    return {
        "key": dict(row.key),
        "agrees": row.agrees,
        **{
            name: {
                "transactions": amount.transactions,
                "total": None if amount.total is None else decimal_text(amount.total),
            }
            for name, amount in parts.items()
        },
    }


def masked(causes: Sequence[RootCause]) -> list[RootCause]:
    """Causes without personal data, in the same order."""
    return [
        replace(
            cause,
            shape=_masked_shape(cause),
            fix=mask_text(cause.fix),
            examples=[_masked_example(cause.field, example) for example in cause.examples],
        )
        for cause in causes
    ]


def shown(causes: Sequence[RootCause]) -> list[RootCause]:
    """Causes with their personal data, in the same order."""
    return [
        replace(
            cause,
            examples=[replace(each, message=without_marks(each.message)) for each in cause.examples],
        )
        for cause in causes
    ]


def _masked_shape(cause: RootCause) -> str | None:
    """A shape shows no personal data unless it is the value itself."""
    its_value = cause.shape is not None and [cause.shape] == [each.value for each in cause.examples]
    return _masked_cell(cause.field, cause.shape) if its_value and cause.shape else cause.shape


def _masked_example(field: str | None, example: Occurrence) -> Occurrence:
    value = example.value
    return replace(
        example,
        value=None if value is None else _masked_cell(field, value),
        message=mask_message(None if value and _NO_PERSON.match(value) else field, example.message),
    )


_NO_PERSON: Final = re.compile(NO_PERSON)


def _masked_cell(field: str | None, value: str) -> str:
    """The cell of a cause; a word such as "no email" is no personal data, though its field is personal."""
    return mask_value(None if _NO_PERSON.match(value) else field, value)


def _samples(facts: Facts, show_personal_data: bool) -> list[dict[str, Any]]:
    rows: Iterable[dict[str, Any]] = facts.samples.drop_nulls("body").iter_rows(named=True)
    return [
        {
            "kind": row["kind"],
            "local": row["local"],
            "body": json.loads(row["body"] if show_personal_data else mask_body(row["body"])),
            **_source_rows(row, show_personal_data),
        }
        for row in rows
    ]


def _source_rows(sample: dict[str, Any], show_personal_data: bool) -> dict[str, Any]:
    """The source rows of a sample, and how many more there are; none where an older version kept none."""
    kept = json.loads(sample["rows"] or "{}")
    staff, people = {*kept.get("staff", ())}, personal_values(json.loads(sample["body"]))
    personal = {*kept.get("personal", ())}

    def cell(name: str, text: str) -> str:
        if show_personal_data:
            return text
        # As in the request: a number of the staff stays, a name is masked.
        if name in staff:
            return mask_value("staff_id", mask_values(text, people))
        if name in personal:
            return mask_whole(text)
        # The names in a JSON object tell which of its values are personal.
        if text[:1] in ("{", "["):
            with suppress(ValueError):
                text = json.dumps(mask_json(json.loads(text), name), ensure_ascii=False)
        return mask_value(name, mask_values(text, people))

    rows = [
        {**row, "cells": {name: cell(name, str(text)) for name, text in row["cells"].items()}}
        for row in kept.get("rows", ())
    ]
    return {"rows": rows, "more_rows": kept.get("more", 0)}


def _prediction(data: ReportData) -> dict[str, Any]:
    requests = data.summary.delivery.pending if data.requests is None else data.requests
    rates = RATES_PER_MIN if data.rate_per_min is None else (_whole(data.rate_per_min),)
    return {
        "requests": requests,
        "bytes": data.facts.body_bytes,
        "durations": [{"per_minute": rate, "hours": round(requests / rate / 60, 4)} for rate in rates],
    }


def _whole(number: float) -> float:
    """1000 for 1000.0, and 0.5 for 0.5."""
    return int(number) if number.is_integer() else number
