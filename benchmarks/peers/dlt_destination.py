"""dlt with a custom destination that posts, all else as it comes.

Bodies go through as text: as objects, dlt would take times out of them and write them in its own form.

    python dlt_destination.py BODIES.jsonl URL
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"

import dlt
import requests

session = requests.Session()
session.headers.update({"Authorization": "Bearer benchmark", "Content-Type": "application/json"})


@dlt.destination(batch_size=100, name="omneo")
def omneo(items: list[dict[str, Any]], table: dict[str, Any]) -> None:  # noqa: ARG001
    for item in items:
        session.post(sys.argv[2], data=item["body"].encode(), timeout=30).raise_for_status()


@dlt.resource(name="transactions")
def transactions() -> Iterator[dict[str, Any]]:
    with Path(sys.argv[1]).open(encoding="utf-8") as bodies:
        for body in bodies:
            yield {"body": body.rstrip("\n")}


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        pipeline = dlt.pipeline("bench", destination=omneo, pipelines_dir=home)
        pipeline.run(transactions()).raise_on_failed_jobs()


if __name__ == "__main__":
    main()
