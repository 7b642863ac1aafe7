"""The transactions of a run that Omneo refused, lost or changed, as a CSV in the form of the quarantine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

import polars as pl

from pipeline.core.findings import Occurrence, RootCause
from pipeline.core.storage import parquet
from pipeline.loading.ledger.entries import Record, State
from pipeline.staging.workdir import RunDir
from pipeline.workflows.runs.reason_lists import write_reason_list

UNDELIVERED_CSV: Final = "undelivered.csv"
UNDELIVERED: Final = "undelivered"
"""The outcome of causes that keep accepted transactions from being in Omneo as they were sent."""
MOST_LISTED: Final = 20_000
"""Transactions in the list; the ledger has all."""

_DEFAULT_MESSAGES: Final = {
    State.IN_DOUBT: "Whether Omneo has it is unknown.",
    State.SENDING: "Whether Omneo has it is unknown.",
    State.VOIDING: "Whether it is void in Omneo is unknown.",
    State.FAILED: "It was given up after several tries; perhaps Omneo has it.",
    State.MISSING: "Omneo took it and does not have it.",
    State.DIFFERING: "Omneo has it with other contents.",
}


def write_failed_transactions(run: RunDir, failed: Iterable[Record]) -> int:
    """Write the list again, or remove it where there is nothing to list.

    One row a reason: `outcome` is the ledger's state, `code` the state with the HTTP status, `field`,
    `value` and `message` are what the server said by field, `raw` is the body that was sent; `source` and
    `line` are those of its first row.

    Args:
        run: The run.
        failed: Its refused, failed, missing and differing transactions, and those in doubt.

    Returns:
        How many transactions are listed.
    """
    rows = list(islice(failed, MOST_LISTED))
    path = run.path / UNDELIVERED_CSV
    if not rows:
        path.unlink(missing_ok=True)
        return 0
    staged = _staged(run, [row.external_id for row in rows])
    reasons = [reason for row in rows for reason in _reasons(row, *staged.get(row.external_id, _UNKNOWN))]
    write_reason_list(path, reasons)
    return len(rows)


_MOST_CAUSES: Final = 40
_WHAT_TO_DO: Final = {
    State.REFUSED: ("Refused by Omneo", "Fix what Omneo objects to in the source, and run it again."),
    State.FAILED: ("Given up for now", "`retry` sends it again."),
    State.MISSING: ("Taken by Omneo, and not there", "`confirm --resend` sends it again."),
    State.DIFFERING: (
        "In Omneo with other values",
        "Compare it with Omneo: the section on delivery says more.",
    ),
}
_UNKNOWN_OUTCOME: Final = ("Not known whether Omneo has it", "`retry` looks it up.")


def causes_of_failure(run: RunDir) -> tuple[RootCause, ...]:
    """Why transactions of the list are not in Omneo as they were sent, the most frequent first.

    They are counted by what the server said, among those that are in the list.
    """
    path = run.path / UNDELIVERED_CSV
    if not path.exists():
        return ()
    columns = ("outcome", "code", "field", "value", "message", "source", "line", "external_id")
    # Without `glob=False` brackets in the path would be a pattern.
    listed = pl.scan_csv(path, glob=False, schema_overrides=dict.fromkeys(columns, pl.String))
    grouped = (
        listed.select(columns)
        .group_by("outcome", "code", "field", "message", maintain_order=True)
        .agg(
            pl.col("external_id").n_unique().alias("transactions"), pl.col("value", "source", "line").first()
        )
        .sort("transactions", descending=True, maintain_order=True)
        .head(_MOST_CAUSES)
        .collect()
    )
    return tuple(map(_cause, grouped.iter_rows(named=True)))


def _cause(row: Mapping[str, Any]) -> RootCause:
    known = {str(state): words for state, words in _WHAT_TO_DO.items()}
    title, fix = known.get(row["outcome"], _UNKNOWN_OUTCOME)
    source, line = (row["source"] or "").rpartition("/")[2], int(row["line"] or 0)
    example = Occurrence(row["value"], row["message"] or title, source, line)
    return RootCause(
        outcome=UNDELIVERED,
        code=row["code"],
        title=title,
        field=row["field"],
        shape=None,
        transactions=row["transactions"],
        fix=fix,
        examples=(example,),
    )


_Staged = tuple[str, str | None, int | None]
"""Body, source and line."""
_UNKNOWN: Final[_Staged] = ("", None, None)


def _staged(run: RunDir, external_ids: list[str]) -> dict[str, _Staged]:
    """The bodies of some transactions, and where they come from, which older runs do not say."""
    parts = [parquet.scan(part) for part in sorted(run.staged.glob("*.parquet"))]
    wanted = pl.col("external_id").is_in(external_ids)
    columns = {"external_id": pl.String, "body": pl.String, "source": pl.String, "line": pl.Int64}
    empty = pl.LazyFrame(schema=columns)
    rows = pl.concat([empty, *parts], how="diagonal").select(*columns).filter(wanted).collect()
    return {external_id: (body, *place) for external_id, body, *place in rows.iter_rows()}


def _reasons(row: Record, body: str, source: str | None, line: int | None) -> Iterator[dict[str, str | None]]:
    """The rows of one transaction, by the columns of the quarantine."""
    answer: Mapping[str, Any] = json.loads(row.message) if row.message else {}
    if row.state in (State.MISSING, State.DIFFERING):
        # A message of the server is about the request, which succeeded. `confirm` says what differs.
        answer = {"errors": answer.get("differs", {}) if row.state is State.DIFFERING else {}}
    has_status = row.status and row.state in (State.REFUSED, State.FAILED, State.IN_DOUBT)
    of_all = {
        "outcome": str(row.state),
        "code": f"{row.state}_{row.status}" if has_status else str(row.state),
        "source": source,
        "line": None if line is None else str(line),
        "external_id": row.external_id,
        "raw": body or None,
    }
    sent = json.loads(body) if body else {}
    for field, messages in answer.get("errors", {}).items():
        yield {**of_all, "field": field, "value": _value(sent, field), "message": " ".join(messages)}
    if not answer.get("errors"):
        yield {**of_all, "message": answer.get("message") or _DEFAULT_MESSAGES.get(row.state)}


def _value(sent: Any, field: str) -> str | None:
    """What was sent at a path such as `items.0.price_sell`; None where there is nothing."""
    for name in field.split("."):
        if isinstance(sent, dict):
            sent = sent.get(name)
        elif isinstance(sent, list) and name.isdecimal() and int(name) < len(sent):
            sent = sent[int(name)]
        else:
            return None
    return None if sent is None else sent if isinstance(sent, str) else json.dumps(sent, ensure_ascii=False)
