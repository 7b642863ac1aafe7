"""What became of every transaction, and of every check, as rows of tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pipeline.core.codes import ABOUT_IMPORT, CODES, Outcome
from pipeline.core.text.wording import agree, count
from pipeline.report.data import CheckMade, ReportData
from pipeline.report.summary import Summary, Total, added
from pipeline.report.verdict import MALFORMED, was_loaded, without_total

_BY_STATUS: Final = frozenset(
    name for name, code in CODES.items() if code.outcome is Outcome.DROPPED and name != "partially_paid"
)
"""Codes of sales that are dropped for their status: nothing else of them is checked."""
_OF_ROWS: Final = (MALFORMED, "encoding_replaced")
_OF_ANY_SALE: Final = ("duplicate_row", "older_version")
"""Codes about rows that count sales, whatever becomes of the sale."""
_OF_COLUMNS: Final = ("unmapped_column", "item_external_id_repeated", "cancelled_after_delivery")
"""Warnings that are not counted by sale or row, so that nothing can pass them."""


def where_everything_is(data: ReportData) -> list[dict[str, Any]]:
    """What became of every transaction that was read, each in exactly one row.

    Returns:
        One row a state: whether it is `in_omneo` (True, False, or None where that is not known), its `name`,
        `transactions`, what they are `worth` as in the summary's totals (None where that is not known), and
        a `note`. States without transactions are left out, but for "Rejected", and for "Delivered" where
        nothing was sent.
    """
    summary, closed = data.summary, data.gate is not None and data.gate.closed
    t, d, totals = summary.transactions, summary.delivery, summary.totals
    beside = summary.beside
    missing = summary.missing or 0
    differing = summary.differing_in_values
    void = data.states["void"].transactions if "void" in data.states else 0
    unchanged = d.unchanged - beside.missing - beside.differing - beside.voided
    loaded = was_loaded(summary)
    took = "taken by Omneo, not " + ("yet looked up" if summary.confirmed is None else "looked up")
    if beside.gone:
        took += f"; {beside.gone:,} cannot be any more: replaced by another run, or forgotten"
    left = max(0, d.delivered - missing + beside.missing - differing + beside.differing)
    confirmed = min(max(0, (summary.confirmed or 0) - beside.confirmed), left)
    taken = left - confirmed
    defects, unknown = "defective, for these causes", without_total(summary)
    if unknown:
        defects += f"; {unknown:,} of them {agree(unknown, 'has')} no total that could be read"
    if rows_alone := summary.rejected.get("key_missing", 0):
        defects += (
            f"; {count(rows_alone, 'row')} without a sale's number {agree(rows_alone, 'counts')} as one sale "
            "each, also in worth: together they may be fewer"
        )
    rows = (
        (True, "Confirmed", confirmed, "looked up in Omneo: there, and equal"),
        (True, "Delivered", taken, took if loaded else "nothing was sent"),
        (True, "Differing", differing - void, "there, but with other values than were sent"),
        (False, "Void", void, "sent as a sale that counts, and void in Omneo: worth nothing"),
        (True, "Unchanged", unchanged, "an earlier run delivered the same"),
        (None, "In doubt", d.in_doubt, "sent without a clear answer: Omneo may have it or not"),
        (False, "Missing", missing, "Omneo took it, but does not have it"),
        (False, "Pending", d.pending, _waiting(data, closed=closed)),
        (False, "Refused", d.refused, "Omneo will never take it as it is: correct it first"),
        (False, "Failed", d.failed, "given up for now, after several tries"),
        (
            False,
            "Voided",
            d.voided + beside.voided,
            "sent, and undone: Omneo keeps it as void, worth nothing",
        ),
        (False, "Forgotten", d.forgotten, "removed for its customer before it was sent"),
        (False, "Rejected", t.rejected, defects),
        (False, "Dropped", t.dropped, "left out on purpose, for these causes"),
    )
    sums = {"Rejected": totals.get("rejected"), "Dropped": totals.get("dropped")}
    return [
        {
            "in_omneo": in_omneo,
            "name": name,
            "transactions": number,
            "worth": sums[name] if name in sums else _worth(data, name, number),
            "note": note,
        }
        for in_omneo, name, number, note in rows
        if number or name == "Rejected" or (name == "Delivered" and not loaded)
    ]


def _waiting(data: ReportData, *, closed: bool) -> str:
    """Why accepted transactions are still to be sent."""
    if data.replaced_by:
        return f"not sent by this run: run {data.replaced_by} delivered its files"
    if data.loading:
        return "accepted; a command is working on it now"
    return (
        "accepted; it cannot be sent while too much is rejected" if closed else "accepted, and not sent yet"
    )


def _worth(data: ReportData, name: str, number: int) -> Total | None:
    """What the accepted transactions in a state are worth; None where that is not known."""
    accepted = data.summary.totals.get("accepted", "0.00")
    if number == data.summary.transactions.accepted:
        return accepted
    if not number:
        return "0.00" if isinstance(accepted, str) else None
    known = data.states.get(name.lower().replace(" ", "_"))
    # What another run delivered is not in the states of this one as confirmed or missing.
    return known.worth if known is not None and known.transactions == number else None


def accepted_sum(delivery: Mapping[str, int]) -> str:
    """How the accepted transactions add up, in the words of the summary: `5 accepted = 4 delivered + …`.

    Args:
        delivery: Transactions by state; the states that matter most are named even where they have none.
    """
    shown = [state for state, number in delivery.items() if number or state in _ALWAYS_NAMED]
    parts = " + ".join(f"{delivery[state]:,} {state.replace('_', ' ')}" for state in shown)
    return f"{sum(delivery.values()):,} accepted = {parts}"


_ALWAYS_NAMED: Final = ("delivered", "refused", "pending", "in_doubt")


def sums_by_place(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of the accepted in `where_everything_is`, what is in Omneo in all, and what is not or perhaps not.

    Returns:
        By `in` and `out` of Omneo: `transactions`, and what they are `worth` (None where that is not known).
    """
    found = {}
    accepted = [row for row in rows if row["name"] not in ("Rejected", "Dropped")]
    for place, inside in (("in", True), ("out", False)):
        some = [row for row in accepted if (row["in_omneo"] is True) is inside]
        totals = [row["worth"] for row in some if row["transactions"]]
        number = sum(row["transactions"] for row in some)
        found[place] = {"transactions": number, "worth": None if None in totals else added(totals)}
    return found


def check_results(data: ReportData) -> list[dict[str, Any]]:
    """Every check with its numbers; those that found something come first, those not made last.

    Returns:
        One row a check: `code`, `title`, `severity`, `checked` and `passed` (None where what it finds is not
        counted by transaction or row), `found`, and why it was `skipped`. Empty for runs of versions that
        did not record their checks.
    """
    guests = int(data.facts.profiles.filter("guest")["transactions"].sum())
    rows = [_result(check, data.summary, guests) for check in data.checks]
    return sorted(rows, key=lambda row: (bool(row["skipped"]), row["found"] == 0))


def _result(check: CheckMade, summary: Summary, guests: int) -> dict[str, Any]:
    found = sum(counts.get(check.code, 0) for counts in (summary.rejected, summary.dropped, summary.warnings))
    checked = None if check.skipped else _checked(check.code, summary)
    if checked is not None and check.code == "profile_placeholder":  # a blank is no word
        checked -= guests - found
    return {
        "code": check.code,
        "title": check.title,
        "severity": check.severity,
        "checked": checked,
        "passed": None if checked is None else max(0, checked - found),
        "found": found,
        "skipped": check.skipped,
    }


def _checked(code: str, summary: Summary) -> int | None:
    """How many transactions, or rows, a check looked at."""
    if code in _OF_COLUMNS:
        return None
    if code in _OF_ROWS:
        return summary.rows.read
    if code in _BY_STATUS or code in _OF_ANY_SALE:
        return summary.transactions.read
    if code in ABOUT_IMPORT:
        return summary.transactions.accepted
    by_status = sum(number for name, number in summary.dropped.items() if name in _BY_STATUS)
    return summary.transactions.read - by_status


def changes(data: ReportData) -> Iterator[dict[str, Any]]:
    """What the last run of the mapping counted beside this one; nothing where there was none."""
    before, now = data.previous, data.summary
    if before is None:
        return
    for name in ("read", "accepted", "dropped", "rejected"):
        yield _change(
            f"Transactions {name}", getattr(before.transactions, name), getattr(now.transactions, name)
        )
    for old, new in ((before.rejected, now.rejected), (before.dropped, now.dropped)):
        for code in sorted({*old, *new}, key=lambda code: (-new.get(code, 0), code)):
            yield _change(
                CODES[code].title if code in CODES else code, old.get(code, 0), new.get(code, 0), code
            )


def _change(name: str, before: int, now: int, code: str = "") -> dict[str, Any]:
    return {"name": name, "code": code, "before": before, "now": now}
