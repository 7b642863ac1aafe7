"""Made-up runs for the tests of the report: a bucket of sales, and all that a report tells about one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from pipeline.core.findings import Anomaly, ControlRow, Occurrence, RootCause, Sums
from pipeline.core.model import LINE, SOURCE, TX, RequestCounts
from pipeline.report.aggregates import Facts, merge
from pipeline.report.data import Provenance, RejectionGate, ReportData, ReportedSource, TenantAnswer
from pipeline.report.partition_facts import measure
from pipeline.report.summary import (
    DeliveryCounts,
    RowTotals,
    Summary,
    TransactionCounts,
    totals_of,
)

HEADERS = {
    TX: pl.UInt32,
    SOURCE: pl.UInt32,
    LINE: pl.Int64,
    "external_id": pl.String,
    "location_id": pl.String,
    "currency": pl.String,
    "transacted_at": pl.Datetime("us"),
    "transacted_at|local": pl.Datetime("us"),
    "total": pl.Decimal(15, 4),
    "profile_id": pl.String,
    "profile_id_handle": pl.String,
    "is_void": pl.Boolean,
}
ITEMS = {TX: pl.UInt32, SOURCE: pl.UInt32, LINE: pl.Int64, "name": pl.String, "sku": pl.String}
REASONS = {
    TX: pl.UInt32,
    "code": pl.String,
    "field": pl.String,
    "value": pl.String,
    "message": pl.String,
    SOURCE: pl.UInt32,
    LINE: pl.Int64,
    "raw": pl.String,
    "outcome": pl.String,
}
FIRST_DAY = datetime.fromisoformat("2023-01-01")
HOUR_WEIGHTS = [0, 0, 0, 0, 0, 0, 0, 1, 3, 9, 14, 17, 19, 16, 13, 12, 14, 18, 12, 5, 2, 1, 0, 0]


def headers(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Mapped headers: TX and LINE number themselves, what is not given is null."""
    filled = [
        dict.fromkeys(HEADERS) | {TX: n, SOURCE: 0, LINE: n + 2} | dict(row) for n, row in enumerate(rows)
    ]
    return pl.DataFrame(filled, schema=HEADERS).with_columns(transacted_at="transacted_at|local")


def items(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    filled = [dict.fromkeys(ITEMS) | {SOURCE: 0, LINE: 2} | dict(row) for row in rows]
    return pl.DataFrame(filled, schema=ITEMS)


def reasons(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    filled = [
        dict.fromkeys(REASONS) | {SOURCE: 0, LINE: 2, "message": "it is wrong"} | dict(row) for row in rows
    ]
    return pl.DataFrame(filled, schema=REASONS)


def outcomes(names: Sequence[str]) -> pl.DataFrame:
    return pl.DataFrame(
        {TX: range(len(names)), "outcome": list(names)}, schema={TX: pl.UInt32, "outcome": pl.String}
    )


def made_up_facts(transactions: int = 2000, stores: int = 12, months: int = 14) -> Facts:
    """A plausible shop: opening hours, a few rejects and drops, every third sale a guest's."""
    rows, judged, found, lines = [], [], [], []
    hours = [hour for hour, weight in enumerate(HOUR_WEIGHTS) for _ in range(weight)]
    for n in range(transactions):
        day = FIRST_DAY + timedelta(days=(n * 37) % (months * 30))
        guest = n % 3 == 0
        rows.append(
            {
                "external_id": f"S{n % stores + 1:02d}-{n % 4 + 1}-{n:07d}",
                "location_id": f"S{n % stores + 1:02d}",
                "currency": "AUD",
                "transacted_at|local": day + timedelta(hours=hours[(n * 61) % len(hours)], minutes=n % 60),
                "total": Decimal(n * 7919 % 20000 - (2000 if n % 40 == 0 else 0)) / 100,
                "profile_id": None if guest else f"customer{n}@example.com",
                "profile_id_handle": None if guest else ("email" if n % 3 == 1 else "loyalty-card"),
                "is_void": True if n % 97 == 5 else None,
            }
        )
        judged.append("rejected" if n % 50 == 7 else "dropped" if n % 25 == 3 else "accepted")
        lines += [{TX: n, "name": "Linen shirt", "sku": "LS-1" if n % 5 else None}] * (n % 3 + 1)
        found += _reasons_of(n, judged[-1], guest)
    facts = measure(headers(rows), items(lines), outcomes(judged), reasons(found))
    return merge([facts.with_bodies(_bodies(rows, judged))])


SALES = "exports/sales-2023.csv"
CAUSES = (
    RootCause(
        *("rejected", "transacted_at_invalid", "Not a date", "transacted_at", "9/9/9 9:9", 20),
        "Fix the cell, or give the mapping the right date format.",
        (
            Occurrence("31/31/2023 10:15", "'31/31/2023 10:15' is not a date", SALES, 23),
            Occurrence("31/32/2023 09:00", "'31/32/2023 09:00' is not a date", SALES, 323),
        ),
    ),
    RootCause(
        *("rejected", "profile_invalid", "Customer's id is malformed", "profile_id", "a@@a", 12),
        "Fix the addresses, or turn the code into a warning to import these as guest sales.",
        (Occurrence("ann57@@example", "'\u2068ann57@@example\u2069' is not an email", SALES, 173),),
    ),
    RootCause(
        *("rejected", "total_mismatch", "Total differs from the items", "total", None, 12),
        "Look for missing lines, shipping or discounts; set `tolerance` for rounding.",
        (Occurrence("19.95", "total 19.95, but the items make 24.95", SALES, 173),),
    ),
    RootCause(
        *("dropped", "draft", "Draft sale", "status", "PARKED", 80),
        "Nothing to do: drafts and parked sales are not sales yet.",
        (Occurrence("PARKED", "status 'PARKED': draft sale", SALES, 11),),
    ),
    RootCause(
        *("warning", "guest", "Sale without a customer", "profile_id", None, 640),
        "Nothing to do: the customer may claim it later.",
        (Occurrence(None, "no customer is named: a guest sale", SALES, 2),),
    ),
)


def _reasons_of(n: int, outcome: str, guest: bool) -> list[dict[str, Any]]:
    where = {TX: n, LINE: n * 3 + 2, "outcome": outcome}
    if outcome == "rejected" and n % 100 == 7:
        return [
            where
            | {
                "code": "transacted_at_invalid",
                "field": "transacted_at",
                "value": "31/31/2023 10:15",
                "message": "'31/31/2023 10:15' is not a date of the form %d/%m/%Y %H:%M",
            }
        ]
    if outcome == "rejected":
        return [
            where
            | {
                "code": "profile_invalid",
                "field": "profile_id",
                "value": f"ann{n}@@example",
                "message": f"'ann{n}@@example' is not an email",
            },
            where
            | {
                "code": "total_mismatch",
                "field": "total",
                "value": "19.95",
                "message": "total 19.95, but the items make 24.95",
            },
        ]
    if outcome == "dropped":
        return [where | {"code": "draft", "value": "PARKED", "message": "status 'PARKED' is a draft"}]
    return [where | {"code": "guest", "outcome": "warning", "message": "no customer"}] if guest else []


def _bodies(rows: Sequence[Mapping[str, Any]], judged: Sequence[str]) -> pl.DataFrame:
    kept = [row for row, outcome in zip(rows, judged, strict=True) if outcome == "accepted"]
    bodies = [
        {
            "external_id": row["external_id"],
            "total": float(row["total"]),
            "transacted_at": f"{row['transacted_at|local']:%Y-%m-%d %H:%M:%S}",
            "location_id": row["location_id"],
            "currency": "AUD",
            **({"profile_id": row["profile_id"], "profile_id_handle": "email"} if row["profile_id"] else {}),
            "items": [{"name": "Linen shirt", "quantity": 1, "price_current": 59.95, "price_sell": 49.95}],
        }
        for row in kept
    ]
    return pl.DataFrame(
        {"external_id": [row["external_id"] for row in kept], "body": [json.dumps(body) for body in bodies]}
    )


def summary_of(facts: Facts, **changes: Any) -> Summary:
    """The summary that a prepared run with these facts has; `changes` replace its fields."""
    numbers = {outcome: facts.transactions(outcome) for outcome in ("accepted", "dropped", "rejected")}
    made = Summary(
        run_id="20240801-101500-7f3a",
        run_dir="/srv/imports/.omneo-import/runs/20240801-101500-7f3a",
        report="/srv/imports/.omneo-import/runs/20240801-101500-7f3a/report.html",
        started_at="2024-08-01T10:15:00Z",
        duration_s=12.4,
        rows=RowTotals(read=facts.items + 120, malformed=3, duplicate=4),
        transactions=TransactionCounts(read=sum(numbers.values()), **numbers),
        dropped=facts.by_code("dropped"),
        rejected=facts.by_code("rejected"),
        warnings=facts.by_code("warning"),
        totals=totals_of({outcome: facts.sums(outcome) for outcome in numbers}),
        delivery=DeliveryCounts(pending=numbers["accepted"]),
        requests=RequestCounts(),
    )
    return replace(made, **changes)


def made_up_report(facts: Facts | None = None, **changes: Any) -> ReportData:
    """A prepared run with something in every section."""
    facts = facts or made_up_facts()
    made = ReportData(
        summary=summary_of(facts),
        facts=facts,
        causes=CAUSES,
        provenance=Provenance(
            mapping="mappings/pos_lines.yaml",
            mapping_hash="sha256:5f0c2a9be1",
            sources=(
                ReportedSource("exports/sales-2023.csv", 41_230_112, 4_120, "sha256:aa01"),
                ReportedSource("exports/sales-2024.csv.gz", 1_204_990, 310, "sha256:bb02"),
            ),
            versions={"omneo-import": "0.1.0", "python": "3.11.9", "polars": "2.1.0"},
        ),
        gate=RejectionGate("5%", closed=False),
        controls=(
            _control("2023-03", 148, "14230.10", 148, "14230.10"),
            _control("2023-04", 151, "15001.00", 150, "14951.05"),
        ),
        findings=(
            Anomaly(
                "sales_at_night",
                "Sales at night",
                "14% of the sales of store S07 happened between 1 and 5 in the morning: "
                "its time zone may be wrong.",
                ("S07: 23 of 160 sales between 01:00 and 05:00", "all other stores: 0.2%"),
            ),
        ),
        preflight=(
            TenantAnswer("Token", "The tenant accepts the token.", good=True),
            TenantAnswer(
                "Locations that would be created", "One location is not known to Omneo.", False, ("S07",)
            ),
        ),
    )
    return replace(made, **changes)


def _control(month: str, expected: int, amount: str, read: int, read_amount: str) -> ControlRow:
    found = Sums(read, Decimal(read_amount))
    return ControlRow({"month": month, "currency": "AUD"}, Sums(expected, Decimal(amount)), found, found)
