"""What a shipped mapping makes of its sample; run as a script, it writes the golden files again.

    python -m tests.mapping.golden [NAME...]

Review the difference by hand: these files say what is right.
"""

import csv
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.core.events import ignore
from pipeline.mapping.language.shipped import shipped_names, shipped_sample
from pipeline.workflows.prepare import PrepareOptions, prepare

GOLDEN = Path(__file__).parent / "golden"
PAYLOADS = 25
"""How many payloads a golden file holds: all but those of the large sample."""


def outcome_of(name: str, workdir: Path) -> dict[str, Any]:
    """Counts, reasons and payloads of a dry run over a mapping's sample."""
    finished = prepare(workdir, name, [str(shipped_sample(name))], PrepareOptions(), ignore)
    summary = finished.summary.as_dict()
    run = Path(finished.summary.run_dir)
    with (run / "quarantine.csv").open(encoding="utf-8-sig", newline="") as file:
        reasons = [
            f"{row['outcome']} {row['code']} {row['field']} {row['value']!r} "
            f"{Path(row['source']).name}:{row['line']}"
            for row in csv.DictReader(file)
        ]
    staged = pl.read_parquet(run / "staged" / "*.parquet").sort("transacted_at", "external_id")
    return {
        **{
            key: summary[key] for key in ("rows", "transactions", "dropped", "rejected", "warnings", "totals")
        },
        "reasons": sorted(reasons),
        "payloads": [json.loads(body) for body in staged["body"].head(PAYLOADS)],
    }


def golden_of(name: str) -> dict[str, Any]:
    """What is right."""
    expected: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    return expected


def main() -> None:
    """Write the golden files of the named mappings, or of all."""
    for name in sys.argv[1:] or shipped_names():
        with tempfile.TemporaryDirectory() as workdir:
            found = outcome_of(name, Path(workdir))
        text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
        (GOLDEN / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
