"""The report as a page, as Markdown and on a terminal: one template each, all over one view.

Whatever comes from data, a mapping or the tenant is text in all three: the page's template is escaped by
Jinja; for Markdown and the terminal every value passes through a function of this module on its way out.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from pipeline.core.codes import CODES
from pipeline.core.storage.file_formats import FORMATS
from pipeline.core.storage.files import write_private
from pipeline.core.text.wording import agree, count
from pipeline.report import charts, heat_maps
from pipeline.report.compiled_templates import CompiledTemplates
from pipeline.report.data import ReportData
from pipeline.report.field_labels import field_label
from pipeline.report.formatting import (
    CELL_CHARACTERS,
    compact,
    duration,
    grouped,
    is_rehearsal,
    share,
    short_number,
    size,
    tenant_name,
    visible,
)
from pipeline.report.outcome_tables import accepted_sum, sums_by_place
from pipeline.report.receipts import receipt_of
from pipeline.report.summary import Summary
from pipeline.report.verdict import RunVerdict, was_loaded
from pipeline.report.view import view

REPORT_HTML: Final = "report.html"
REPORT_JSON: Final = "report.json"
MOST_PAYLOAD_LINES: Final = 80
PROSE_CHARACTERS: Final = 500
NO_TENANT: Final = "not noted by an older version; the first that answers takes it over"
"""Shown as the tenant of a ledger of an older form."""
# What a terminal could obey, or a reader cannot see, is escaped in report.json: control characters, marks of
# direction, spaces without width, and separators of lines.
_UNSEEN: Final = re.compile(r"[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
# Markdown's marks, names of people and issues, and what GitHub turns into a link by itself.
_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]<>#!|~&$@]|:(?=//|\w+:)|(?<=\bwww)\.)")


def write_report(run_dir: Path, data: ReportData, *, show_personal_data: bool = False) -> Path:
    """Write `report.html` and `report.json`, replacing what is there, and return the page's path.

    Both files can be read by their owner only; each appears whole or not at all.

    Args:
        run_dir: The run's directory; it exists.
        data: What to report.
        show_personal_data: Leave emails, card and phone numbers and customers' ids as they are.
    """
    values = view(data, show_personal_data=show_personal_data)
    text = json.dumps(values, ensure_ascii=False)
    # Not by `translate`, which takes ten times as long where any letter is not ASCII.
    facts = _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"
    page, files = (
        run_dir / REPORT_HTML,
        [name for name in _FILES if name == REPORT_JSON or (run_dir / name).exists()],
    )
    for path, text in ((run_dir / REPORT_JSON, facts), (page, render_page(values, files))):
        # A cell may hold half of a surrogate pair, which UTF-8 cannot express.
        write_private(path, text.encode("utf-8", "backslashreplace"))
    return page


def render_page(values: Mapping[str, Any], files: Sequence[str] = ()) -> str:
    """The page, which needs nothing else: no network, no script from elsewhere.

    Its content security policy allows only the style and the script that are in it, by their hashes. The
    template calls the functions of `charts` and `heat_maps` itself, each where its picture stands.

    Args:
        values: What `view` gave.
        files: Files of the run's directory that the page links to.
    """
    return (
        templates(autoescape=True)
        .get_template("report.html.j2")
        .render(
            report=values,
            written_at=datetime.now(UTC).isoformat(timespec="seconds"),
            loaded=was_loaded(Summary.from_dict(values)),
            places=sums_by_place(values["where"]),
            currency=values["currency"],
            charts=charts,
            heat_maps=heat_maps,
            sales=[(sample, receipt_of(sample)) for sample in values["samples"]],
            files=[(name, _FILES[name]) for name in files],
            **page_parts(),
        )
    )


_FILES: Final[Mapping[str, str]] = {
    "quarantine.csv": "every reason why something was rejected or dropped",
    **dict.fromkeys(
        ("quarantine_rows", *(f"quarantine_rows.{form.rows_to_fix}" for form in FORMATS.values())),
        "the rejected rows as they were read, to be fixed and run",
    ),
    "undelivered.csv": "what is not in Omneo as it was sent, and why",
    "cancelled_after_delivery.csv": "sales that Omneo has and that are no longer complete",
    "new_locations.csv": "stores that Omneo would create",
    "unknown_profiles.csv": "customers that Omneo does not know",
    "results.csv": "what became of each transaction",
    REPORT_JSON: "all numbers of this page",
    "run.log.jsonl": "what was done, and when",
}
"""Files of a run's directory, and what they hold."""


def page_parts() -> dict[str, Any]:
    """What every page has: style, script, and the content security policy that allows only these."""
    style, script = _part("report.css"), _part("report.js")
    hashes = (b64encode(sha256(part.encode()).digest()).decode() for part in (style, script))
    allowed = "style-src 'sha256-{}'; script-src 'sha256-{}'".format(*hashes)
    return {
        "style": Markup(style),  # noqa: S704 - a file of this package
        "script": Markup(script),  # noqa: S704 - a file of this package
        "policy": f"default-src 'none'; {allowed}; img-src data:; base-uri 'none'; form-action 'none'",
    }


def _part(name: str) -> str:
    return (files("pipeline.report") / "templates" / name).read_text(encoding="utf-8")


def render_markdown(values: Mapping[str, Any]) -> str:
    """A short version for a pull request or a chat; ends in a line break.

    Args:
        values: What `view` gave.
    """
    loaded = was_loaded(Summary.from_dict(values))
    return templates(markdown_text).get_template("report.md.j2").render(report=values, loaded=loaded) + "\n"


def render_terminal(values: Mapping[str, Any], about: str = "") -> str:
    """How a run stands, what a command found, and what to type next.

    Args:
        values: What `view` or `overview` gave.
        about: The section that the command is about, `REJECTIONS` or `PREFLIGHT`; empty where it is about
            the delivery.
    """
    return (
        templates(_terminal_text)
        .get_template("report.txt.j2")
        .render(report=values, about=about, loaded=was_loaded(Summary.from_dict(values)), no_tenant=NO_TENANT)
        .rstrip("\n")
    )


def _terminal_text(value: object) -> str:
    return visible(str(value), None)


def run_table(runs: Sequence[tuple[Summary, RunVerdict]]) -> str:
    """One line a run and tenant, in the order given, under a line of headings."""
    heads = ("run", "started", "accepted", "rejected", "delivered", "pending", "in doubt", "", "")
    rows = [
        (
            summary.run_id,
            summary.started_at[:16].replace("T", " "),
            f"{summary.transactions.accepted:,}",
            f"{summary.transactions.rejected:,}",
            f"{summary.delivery.delivered + summary.delivery.unchanged:,}",
            f"{summary.delivery.pending:,}",
            f"{summary.delivery.in_doubt:,}",
            verdict.headline,
            "" if summary.tenant is None else summary.tenant or NO_TENANT,
        )
        for summary, verdict in runs
    ]
    if not rows:
        return "There are no runs yet."
    table = [heads, *([visible(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(heads))]
    # Numbers, in columns 2 to 6, are aligned to the right.
    aligned = (
        [
            cell.rjust(width) if 2 <= n <= 6 else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in table
    )
    return "\n".join("  ".join(row).rstrip() for row in aligned)


@cache
def templates(finalize: Callable[[Any], str] | None = None, *, autoescape: bool = False) -> Environment:
    """The package's templates, and the filters that they use.

    Args:
        finalize: Makes text of every value that a template puts out; None where `autoescape` does.
        autoescape: Escape values for HTML.
    """
    environment = Environment(
        loader=PackageLoader("pipeline.report"),
        bytecode_cache=CompiledTemplates("html" if autoescape else getattr(finalize, "__name__", "text")),
        autoescape=autoescape,  # noqa: S701 - what is no HTML has a `finalize` of its own
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "visible": visible,
        "number": lambda number: f"{number:,}",
        "short_number": short_number,
        "compact": compact,
        "grouped": grouped,
        "share": share,
        "size": size,
        "duration": lambda hours: duration(hours * 3600),
        "payload": payload,
        "prose": prose,
        "count": count,
        "agree": agree,
        "accepted_sum": accepted_sum,
        "unbroken": unbroken,
        "field_label": field_label,
        "is_rehearsal": is_rehearsal,
        "tenant": lambda url: tenant_name(url) if url else NO_TENANT,
        "when": lambda text: text.replace("T", " ").removesuffix("Z").split(".")[0].split("+")[0],
        "text": markdown_text,
        "code": markdown_code,
        "left": lambda text, width: f"{visible(text, None):<{width}}",
        "right": lambda text, width: f"{text:>{width}}",
        "transactions_in": lambda where, state: sum(
            row["transactions"] for row in where if row["name"] == state
        ),
        "code_title": lambda code: CODES[code].title if code in CODES else "A rule of the mapping",
    }
    return environment


def payload(body: Mapping[str, Any]) -> str:
    """A request body as indented JSON, long texts and long bodies cut."""
    lines = json.dumps(_shortened(body), ensure_ascii=False, indent=2).split("\n")
    if len(lines) > MOST_PAYLOAD_LINES:
        lines = [*lines[:MOST_PAYLOAD_LINES], f"… and {len(lines) - MOST_PAYLOAD_LINES:,} more lines"]
    return "\n".join(visible(line, None) for line in lines)


def _shortened(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {visible(key): _shortened(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shortened(inner) for inner in value]
    return visible(value) if isinstance(value, str) else value


def prose(text: str, limit: int | None = PROSE_CHARACTERS) -> Markup:
    """A sentence of ours or of a mapping for the page; what stands in backticks is set as code."""
    parts = enumerate(escape(part) for part in visible(text, limit).split("`"))
    return Markup("").join(Markup("<code>{}</code>").format(part) if n % 2 else part for n, part in parts)


_AMOUNT: Final = re.compile(r"\b([A-Z]{3}) (?=-?\d)")


def unbroken(text: str) -> Markup:
    """A text for the page in which no line ends between a currency and its amount."""
    return Markup(_AMOUNT.sub("\\1&nbsp;", str(escape(text))))  # noqa: S704 - escaped


def markdown_text(value: Any, limit: int = CELL_CHARACTERS) -> Markup:
    """A value as Markdown that shows it and does nothing else; Markdown stays as it is."""
    if isinstance(value, Markup):
        return value
    return Markup(_MARKDOWN.sub(r"\\\1", visible(str(value), limit)))  # noqa: S704 - escaped, if not for HTML


def markdown_code(text: str, limit: int | None = CELL_CHARACTERS) -> Markup:
    r"""A code span: a backtick inside becomes an apostrophe, and a bar, which would end a cell, `\|`."""
    shown = visible(text, limit).replace("`", "'").replace("|", "\\|")
    return Markup(f"`{shown}`" if shown else "")  # noqa: S704 - as above
