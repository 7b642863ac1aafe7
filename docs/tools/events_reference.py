"""The page about logs and metrics, `docs/events.md`, made from the events and the metrics themselves.

`python -m docs.tools.events_reference > docs/events.md` writes it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from dataclasses import fields, replace

from pipeline.core.events import Event
from pipeline.loading import loading_events as _delivery_events  # noqa: F401 (its events register themselves)
from pipeline.report.summary import empty_summary
from pipeline.telemetry.watch import Ending, metrics_of

_HEAD = """\
# Logs and metrics

Made by `python -m docs.tools.events_reference`.

`--log-format json` writes one JSON object a line and event to stderr, and every run keeps the same in its
`run.log.jsonl`. Each line has `ts` (UTC), `run_id` (empty before there is a run), `event`, and the fields of
that event. Names and fields stay; new ones may be added. No line holds a payload, a cell or a token. Of the
progress of a stage there is a line every ten seconds.

| event | when | fields |
|---|---|---|
"""
_METRICS = """
An error that ends a command is a last line on stderr with `event` `error`, `exit_code` and `message`.

## Metrics

`--metrics-file PATH` writes these when a command ends, however it ends, for the node exporter's textfile
collector. All are gauges about the last command, with the labels `command`, `mapping` and `workdir` besides
those named. Give every job a file of its own. The time of the last success survives a failure.

| metric | what | label |
|---|---|---|
"""


def page() -> str:
    """The page as Markdown."""
    return _HEAD + "\n".join(_event_rows()) + "\n" + _METRICS + "\n".join(_metric_rows()) + "\n"


def _event_rows() -> Iterator[str]:
    own = (event for event in Event.__subclasses__() if event.__module__.startswith("pipeline."))
    for event in own:
        about = " ".join((inspect.getdoc(event) or "").split())
        names = ", ".join(f"`{field.name}`" for field in fields(event))
        yield f"| `{event.name}` | {about} | {names} |"


def _metric_rows() -> Iterator[str]:
    some = {"example": 1}
    summary = replace(empty_summary(), dropped=some, rejected=some, warnings=some)
    ending = Ending("run", "", "w", 0, "", 0.0, 0.0, summary, {"load": 0.0})
    for metric in metrics_of(ending, last_success=0.0).collect():
        labels = set().union(*(sample.labels for sample in metric.samples)) - {
            "command",
            "mapping",
            "workdir",
        }
        yield f"| `{metric.name}` | {metric.documentation} | {', '.join(f'`{name}`' for name in labels)} |"


if __name__ == "__main__":
    sys.stdout.write(page())
