"""The report in a few lines of markdown, for a pull request or a chat."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pipeline.report.page import share
from pipeline.report.terminal import duration
from pipeline.report.text import visible
from pipeline.report.verdict import count, grouped

MOST_CAUSES: Final = 8
_SYMBOLS: Final = {"good": "✅", "look": "⚠️", "bad": "⛔"}
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>#!|~&$@]|:(?=//|\w+:)|(?<=\bwww)\.)")


def render_markdown(values: Mapping[str, Any]) -> str:
    """Render what `pipeline.report.view.view` gave; ends in a line break.

    Nothing from the data can become markup: texts are escaped, values are code.
    """
    verdict = values["verdict"]
    blocks = [
        f"## {_SYMBOLS[verdict['mood']]} {_text(verdict['headline'])}",
        _text(verdict["sentence"], 600),
        f"Next: {_code(verdict['next'], None)}",
        _outcomes(values),
        _causes("Rejected", values["causes"], "rejected"),
        _causes("Dropped", values["causes"], "dropped"),
        _looks(values),
        _delivery(values),
        _plan(values),
        f"Run {_code(values['run_id'])}, mapping {_code(values['provenance']['mapping'])}.",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _outcomes(values: Mapping[str, Any]) -> str:
    numbers = values["transactions"]
    rows = [
        [
            name,
            f"{numbers[name]:,}",
            share(numbers[name], numbers["read"]),
            _worth(values["totals"].get(name)),
        ]
        for name in ("accepted", "dropped", "rejected")
    ]
    return _table(["Transactions", "Number", "Share", "Worth"], rows, right=3)


def _worth(total: str | Mapping[str, str] | None) -> str:
    if total is None or isinstance(total, str):
        return grouped(total or "0.00")
    return ", ".join(f"{_text(currency)} {grouped(amount)}" for currency, amount in total.items())


def _causes(title: str, causes: Sequence[Mapping[str, Any]], outcome: str) -> str:
    chosen = [cause for cause in causes if cause["outcome"] == outcome]
    if not chosen:
        return ""
    rows = [
        [
            _text(cause["title"]),
            _code(cause["code"]),
            f"{cause['transactions']:,}",
            _example(cause["examples"][0]),
            _text(cause["fix"], 200),
        ]
        for cause in chosen[:MOST_CAUSES]
    ]
    more = len(chosen) - MOST_CAUSES
    note = f"\n\nAnd {count(more, 'more cause')}, in the report." if more > 0 else ""
    heads = ["Cause", "Code", "Number", "Example", "What to do"]
    return f"### {title}\n\n{_table(heads, rows)}{note}"


def _example(example: Mapping[str, Any]) -> str:
    value = "" if example["value"] is None else f" {_code(example['value'], 40)}"
    place = f"{example['source']}:{example['line']}"
    return f"{_text(place)}{value}"


def _looks(values: Mapping[str, Any]) -> str:
    differing = [row for row in values["controls"] if not row["agrees"]]
    lines = [f"- {_text(f['title'])}: {_text(f['message'], 300)}" for f in values["findings"]]
    lines += [
        f"- {_text(a['title'])}: {_text(a['message'], 300)}"
        for a in values["preflight"] or ()
        if a["good"] is False
    ]
    if differing:
        lines.append(f"- {len(differing):,} of {count(len(values['controls']), 'control total')} differ")
    return "### Worth a look\n\n" + "\n".join(lines) if lines else ""


def _delivery(values: Mapping[str, Any]) -> str:
    states = values["delivery"]
    if states["pending"] + states["forgotten"] == values["transactions"]["accepted"]:
        return ""
    seldom = ("in_doubt", "voided", "forgotten")
    parts = [f"{n:,} {state.replace('_', ' ')}" for state, n in states.items() if n or state not in seldom]
    if values["confirmed"] is not None:
        parts += [f"{values[name] or 0:,} {name}" for name in ("confirmed", "missing", "differing")]
    where = f" to {_code(values['tenant'])}" if values["tenant"] else ""
    return f"Delivery{where}: {', '.join(parts)}."


def _plan(values: Mapping[str, Any]) -> str:
    plan = values["prediction"]
    if not plan["requests"]:
        return ""
    times = ", ".join(
        f"{duration(it['hours'] * 3600)} at {it['per_minute']:,}/min" for it in plan["durations"]
    )
    return f"Loading takes {count(plan['requests'], 'request')}: {times}."


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], right: int = 0) -> str:
    rule = ["---" if n == 0 or n > right else "--:" for n in range(len(heads))]
    return "\n".join(f"| {' | '.join(row)} |" for row in [heads, rule, *rows])


def _text(text: str, limit: int = 120) -> str:
    return _SPECIAL.sub(r"\\\1", visible(text, limit))


def _code(text: str, limit: int | None = 120) -> str:
    r"""A code span: a backtick inside becomes an apostrophe, and a bar, which would end a cell, `\|`."""
    shown = visible(text, limit).replace("`", "'").replace("|", "\\|")
    return f"`{shown}`" if shown else ""
