"""`results`: what became of every transaction of a run, joined to its first row in the source."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import RunError, SettingsError
from pipeline.core.storage import parquet
from pipeline.core.storage.files import replacing
from pipeline.core.text.safe_text import neutral
from pipeline.loading.ledger.entries import Counted, Record, State
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.staging.manifest import read_manifest
from pipeline.staging.staged_run import StagedRun
from pipeline.staging.workdir import RunDir, Workdir
from pipeline.workflows.runs.state_worth import counted_rows, state_name

RESULTS: Final = "results"
"""The name of the file in a run's directory, before its ending."""
SCHEMA: Final = {
    "source": pl.String,
    "line": pl.Int64,
    "external_id": pl.String,
    "outcome": pl.String,
    "codes": pl.String,
    "transacted_at": pl.String,
    "total": pl.String,
    "currency": pl.String,
    "state": pl.String,
    "http_status": pl.Int64,
    "server_message": pl.String,
    "omneo_id": pl.String,
    "confirmed_at": pl.String,
}
"""The columns; see `write_results`."""
_TIME_FORMAT: Final = "%Y-%m-%dT%H:%M:%SZ"
_HEADER_MAX: Final = 1_000
"""Bytes that are read of an existing file: the header has fewer."""
_ROWS_AT_A_TIME: Final = 50_000
"""Rows of the quarantine that are written at a time."""


def write_results(
    workdir: Path,
    reference: str,
    output: Path | None = None,
    *,
    ledger: Path | str | None = None,
    base_url: str | None = None,
) -> tuple[str, int]:
    """Write one row for each transaction of a run: those accepted, in delivery order, then the others.

    `source` and `line` are those of its first row; `codes` are joined with `;`, of an accepted one those
    of its warnings; times are UTC; `total` is a decimal number; `state` is what the ledger knows of it at
    the tenant, null where it was not accepted; `server_message` is masked. What is not known is null. A
    CSV is safe to open in a spreadsheet, as `quarantine.csv` is.

    Args:
        workdir: The working directory.
        reference: Which run.
        output: The file, `.parquet` or CSV by its name; None for `results.csv` in the run's directory.
        ledger: Another ledger than the working directory's own.
        base_url: The tenant; None for the only one that the ledger knows.

    Returns:
        Where people find the file, which is an address where the working directory is in an object store; and
        its number of rows.

    Raises:
        CannotStart: There is no such run, its contents were removed, several tenants know it, the ledger
            cannot be read, or the file cannot be written or is none that this command wrote.
    """
    home = Workdir(workdir.expanduser().absolute())
    run = home.find(reference)
    path = output or run.path / f"{RESULTS}.csv"
    manifest = read_manifest(run)
    if manifest.parts and not run.staged.exists():
        raise RunError(
            f"The staged bodies of run {run.run_id} were removed, by `prune` most likely.",
            hint="Its counts are still in its report.",
        )
    where = ledger or home.ledger
    exists = isinstance(where, str) or where.exists()
    number = 0
    with (
        SqlLedger(where, base_url) if exists else nullcontext() as opened,
        _writer(path) as write,
    ):
        for rows in chain(_accepted(run, opened), _others(run)):
            write(rows)
            number += rows.height
    return str(output or f"{run.address}/{path.name}"), number


def _accepted(run: RunDir, ledger: SqlLedger | None) -> Iterator[pl.DataFrame]:
    """The accepted transactions, with what the ledger knows of each."""
    staged = StagedRun(run.here, read_manifest(run))
    if ledger is not None and ledger.base_url is None:
        _choose_tenant(ledger, run.run_id)
    for rows, counted in counted_rows(staged, ledger, staged.rows()):
        found = [_found(*each, forgotten=not body) for each, body in zip(counted, rows["body"], strict=True)]
        text = pl.col("body").cast(pl.String)
        yield rows.select(
            "source",
            "line",
            "external_id",
            pl.lit("accepted").alias("outcome"),
            pl.col("warnings").alias("codes"),
            pl.col("transacted_at").dt.strftime(_TIME_FORMAT),
            pl.col("total").cast(pl.String).str.replace(r"0{1,2}$", ""),  # to the cent: 5.0000 is 5.00
            pl.when(text != "").then(text).str.json_path_match("$.currency").alias("currency"),
            *pl.DataFrame(found, schema={name: SCHEMA[name] for name in _OF_LEDGER}, orient="row"),
        )


_OF_LEDGER: Final = ("state", "http_status", "server_message", "omneo_id", "confirmed_at")
_Found = tuple[str, int | None, str | None, str | None, str | None]


def _choose_tenant(ledger: SqlLedger, run_id: str) -> None:
    tenants = [name for name in ledger.statuses().get(run_id, {}) if name]
    if len(tenants) > 1:
        raise SettingsError(
            f"Run {run_id} was sent to several tenants: {', '.join(tenants)}.",
            hint="Set OMNEO_TENANT or OMNEO_BASE_URL to the one that is meant.",
        )
    if tenants:
        ledger.bind(tenants[0])


def _found(counted: Counted, record: Record | None, *, forgotten: bool) -> _Found:
    """What the ledger knows of one transaction, by `_OF_LEDGER`."""
    state = state_name(counted)
    if record is None:
        return ("forgotten" if forgotten else state, None, None, None, None)
    # The ledger's record is about the request of another run.
    if counted is State.PENDING:
        return (state, None, None, record.omneo_id, None)
    said = json.loads(record.message) if record.message else {}
    message = said.get("message") or "; ".join(
        f"{name}: {' '.join(words)}" for name, words in said.get("errors", {}).items()
    )
    confirmed = record.state is State.CONFIRMED
    at = datetime.fromtimestamp(record.at, UTC).strftime(_TIME_FORMAT) if confirmed else None
    return (state, record.status, message or None, record.omneo_id, at)


def _others(run: RunDir) -> Iterator[pl.DataFrame]:
    """The dropped and rejected transactions, in the order of the source; all codes of one in its row."""
    # Malformed rows belong to no transaction.
    parts = [part for part in sorted(run.quarantine.glob("*.parquet")) if "malformed" not in part.name]
    if not parts:
        return
    reasons = pl.concat([parquet.scan(part) for part in parts])
    one = ["source", "line", "external_id", "outcome"]
    transactions = (
        reasons.group_by(one)
        .agg(pl.col("code").unique().sort().str.join(";").alias("codes"))
        .sort("source", "line")
    ).collect(engine="streaming")
    absent = [
        pl.lit(None, kind).alias(name) for name, kind in SCHEMA.items() if name not in transactions.columns
    ]
    yield from transactions.with_columns(absent).select(*SCHEMA).iter_slices(_ROWS_AT_A_TIME)


def _is_replaceable(path: Path) -> bool:
    """Whether a file is empty or holds earlier results: a mistyped -o must not destroy an export."""
    try:
        if not path.stat().st_size:
            return True
        if path.suffix.lower() == ".parquet":
            return pq.read_schema(path).names == [*SCHEMA]
        with path.open("rb") as file:
            return file.readline(_HEADER_MAX).strip() == ",".join(SCHEMA).encode()
    except (OSError, pa.ArrowInvalid):
        return False


@contextmanager
def _writer(path: Path) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Write frames to a private file, as Parquet or CSV by its name; it appears whole or not at all."""
    # A device or a pipe would be replaced by a file.
    if str(path) in ("-", ".") or (path.exists() and not path.is_file()):
        raise SettingsError(f"{path} is not a file.", hint="Name one with -o, such as results.csv.")
    if path.exists() and not _is_replaceable(path):
        raise SettingsError(
            f"{path} exists and holds no results, so it is not overwritten.",
            hint="Name another file with -o, or remove it first.",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The target of a link is replaced, so the link stays.
        with replacing(path.resolve()) as file:
            if path.suffix.lower() == ".parquet":
                schema = pl.DataFrame(schema=SCHEMA).to_arrow().schema
                with pq.ParquetWriter(file, schema) as rows:
                    yield lambda frame: rows.write_table(frame.select(*SCHEMA).to_arrow().cast(schema))
                return
            file.write((",".join(SCHEMA) + "\n").encode())
            safe = [
                neutral(pl.col(name)) if kind == pl.String else pl.col(name) for name, kind in SCHEMA.items()
            ]
            yield lambda frame: frame.select(safe).write_csv(file, include_header=False)
    except OSError as error:
        raise SettingsError(f"The results cannot be written to {path}: {error}.") from None
