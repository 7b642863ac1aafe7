"""Sales that an earlier run delivered and that a later export says are not complete: named, or voided.

The ledger knows what the tenant has, so each command asks it again: a sale that was voided is no longer
found, and no later run voids it a second time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from pipeline.core.codes import CODES
from pipeline.core.errors import RunError, SettingsError
from pipeline.core.events import Notice
from pipeline.core.text.wording import agree, count
from pipeline.loading.delivery.decisions import VoidRules, is_in_omneo
from pipeline.loading.delivery.delivery_options import DeliveryResult
from pipeline.loading.delivery.loader import deliver
from pipeline.loading.http.endpoints import ENDPOINTS
from pipeline.loading.ledger.entries import has_newer_source
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.staging.manifest import Manifest, microseconds, read_manifest
from pipeline.staging.staged_run import StagedRun
from pipeline.staging.workdir import QUARANTINED, RunDir
from pipeline.workflows.runs import run_record
from pipeline.workflows.runs.reason_lists import write_reason_list
from pipeline.workflows.runs.run_summary import run_ref
from pipeline.workflows.tenant.open_run import OpenRun

CODE: Final = "cancelled_after_delivery"
CANCELLED_CSV: Final = f"{CODE}.csv"
_NOT_COMPLETE: Final = ("draft", "partially_paid", "cancelled", "order_open")
_TO_VOID: Final = "cancelled"
"""Only these are voided: a draft or an open order may be completed, and what is void stays void."""
_ASKED_AT_ONCE: Final = 10_000
"""Ids looked for in the ledger in one go, so that memory does not grow with what was dropped."""


@dataclass(frozen=True)
class CancelledSale:
    """A sale that Omneo has, and that the source says is not complete.

    Attributes:
        external_id: Its id.
        code: Why this run dropped it.
        source: The file that says so.
        line: The line in it.
        delivered_by: Number of the run that has its record.
        said_at: When that file was written, microseconds since 1970; None where that is unknown.
    """

    external_id: str
    code: str
    source: str | None
    line: int | None
    delivered_by: int
    said_at: int | None


def find_cancelled(run: RunDir, manifest: Manifest, ledger: SqlLedger) -> list[CancelledSale]:
    """Sales that this run dropped by their state and that the ledger's tenant has, not void, by id.

    What an older file says is left out where a newer one was delivered.
    """
    written = {each.name: _microseconds(each.written) for each in manifest.sources}
    found = []
    for rows in _dropped(run).iter_slices(_ASKED_AT_ONCE):
        records = ledger.find(rows["external_id"].to_list())
        for external_id, code, source, line in rows.iter_rows():
            record = records.get(external_id)
            if record is None or not is_in_omneo(record):
                continue
            said_at = written.get(source)
            if said_at is None or record.source_time is None or said_at >= record.source_time:
                found.append(CancelledSale(external_id, code, source, line, record.run_no, said_at))
    return found


def _dropped(run: RunDir) -> pl.DataFrame:
    """One row a sale that was dropped by its state: `external_id`, `code`, `source`, `line`."""
    columns: dict[str, pl.DataType] = {
        "external_id": pl.String(),
        "code": pl.String(),
        "source": pl.String(),
        "line": pl.Int64(),
    }
    parts = run.shared / QUARANTINED
    is_dropped = (pl.col("outcome") == "dropped") & pl.col("code").is_in(_NOT_COMPLETE)
    wanted = [
        pl.read_parquet(part)
        .filter(is_dropped, pl.col("external_id").is_not_null())
        .select(pl.col(n).cast(t) for n, t in columns.items())
        for part in parts.contents(parts.names("*.parquet"))
    ]
    rows = pl.concat([pl.DataFrame(schema=columns), *wanted])
    return rows.unique("external_id", keep="first", maintain_order=True).sort("external_id")


def _microseconds(moment: str) -> int | None:
    return microseconds(datetime.fromisoformat(moment)) if moment else None


# While preparing


def name_cancelled(
    run: RunDir, manifest: Manifest, where: Path, base_url: str | None
) -> tuple[int, Notice | None]:
    """Name what the tenant of a ledger has of the sales that a new run dropped.

    Args:
        run: The run, prepared to its end.
        manifest: Its manifest.
        where: The ledger's file.
        base_url: The tenant; None for the only one that the ledger knows.

    Returns:
        How many there are, and what to say of them. None where the ledger cannot be read or knows several
        tenants: then `load` names them.
    """
    with suppress(SettingsError), SqlLedger(where, base_url) as ledger:
        tenants = [url for url in (ledger.base_url, *ledger.tenants()) if url]
        if len({*tenants}) == 1 or ledger.base_url:
            sales = find_cancelled(run, manifest, ledger)
            return len(sales), _keep(run, tenants[0], sales) if sales else None
    return 0, None


def _keep(run: RunDir, tenant: str, sales: list[CancelledSale]) -> Notice | None:
    """Write the list of them, and their number for the reports of the run."""
    record = run_record.read(run)
    known = record.of(tenant)
    path = run.path / CANCELLED_CSV
    if known.cancelled_after_delivery != len(sales):
        changed = replace(known, cancelled_after_delivery=len(sales))
        run_record.write(run, record.with_tenant(tenant, changed))
    if not sales:
        path.unlink(missing_ok=True)
        return None
    of_all = {"outcome": "warning", "code": CODE, "message": CODES[CODE].title}
    write_reason_list(
        path,
        [
            {
                **of_all,
                "value": sale.code,
                "source": sale.source,
                "line": None if sale.line is None else str(sale.line),
                "external_id": sale.external_id,
            }
            for sale in sales
        ],
    )
    number = len(sales)
    what, are = count(number, "sale"), agree(number, "is")
    return Notice(
        CODE,
        f"{what} that Omneo has {are} not complete any more in the source; see {path}. {CODES[CODE].fix}",
    )


# While loading


def settle_cancelled(run: OpenRun, result: DeliveryResult) -> DeliveryResult:
    """Name the sales that the tenant has and that this run dropped; void them where the mapping says so.

    Nothing is voided where the load was stopped, or sent a part of the run only: the next one does it.

    Returns:
        The result of the load, with what was sent to void them.
    """
    runs = _loaded_runs(run)
    # What an earlier load did not void, because it was killed or refused, is made up for.
    for one in [*_runs_left(run, runs), _LoadedRun(run.directory, run.staged)]:
        result = _settle(run, one, runs, result)
    return result


class _LoadedRun(NamedTuple):
    directory: RunDir
    staged: StagedRun

    @property
    def manifest(self) -> Manifest:
        return self.staged.manifest


def _settle(
    run: OpenRun, one: _LoadedRun, runs: Sequence[_LoadedRun], result: DeliveryResult
) -> DeliveryResult:
    """Name, or void, what one run cancelled: the open one, or another."""
    sales = _still_cancelled(run, one, runs)
    is_over = result.error is None and not result.stopped and run.target.options.first is None
    cancelled = [sale for sale in sales if sale.code == _TO_VOID]
    if cancelled and is_over and run_record.read(one.directory).void_cancelled:
        for done in _void(run, cancelled):
            result = replace(
                result,
                requests=result.requests + done.requests,
                not_voided=result.not_voided + done.failed,
                stopped=result.stopped or done.stopped,
                error=result.error or done.error,
            )
        left = _still_cancelled(run, one, runs)
        if number := len(sales) - len(left):
            what, were = count(number, "sale"), agree(number, "was")
            run.emit(
                Notice(
                    "cancelled_voided", f"{what} that {were} cancelled after delivery {were} voided in Omneo."
                )
            )
        sales = left
    if notice := _keep(one.directory, run.tenant, sales):
        run.emit(notice)
    return result


def _still_cancelled(run: OpenRun, one: _LoadedRun, runs: Sequence[_LoadedRun]) -> list[CancelledSale]:
    """What one run cancelled and no newer file has as complete, or no later run where the files do not say.

    The ledger does not tell: a sale that is as it was before stays the record of the run that brought it.
    """
    sales = find_cancelled(one.directory, one.manifest, run.ledger)
    said_at = {sale.external_id: sale.said_at for sale in sales}
    completed: set[str] = set()
    for other in runs if sales else ():
        is_later = other.manifest.ordinal > one.manifest.ordinal
        if is_later or _has_newer_file(other.manifest, one.manifest):
            for external_id, time in other.staged.source_times([*said_at]):
                by_source = has_newer_source(time, said_at[external_id])
                if is_later if by_source is None else by_source:
                    completed.add(external_id)
    return [sale for sale in sales if sale.external_id not in completed]


def _runs_left(run: OpenRun, runs: Sequence[_LoadedRun]) -> list[_LoadedRun]:
    """Other runs that a load began, whose cancelled sales shall be void and perhaps are not, oldest first.

    These are older ones that a load did not get done with, and those with a newer file than the open run,
    which may just have brought what they cancelled.
    """
    opened, left = run.staged.manifest, []
    for each in runs:
        is_older = each.manifest.ordinal < opened.ordinal
        is_listed = is_older and (each.directory.path / CANCELLED_CSV).exists()
        has_newer = _has_newer_file(each.manifest, opened)
        # Few runs are either, and a run's record takes long to read.
        if each.directory.run_id == run.ref.run_id or not (is_listed or has_newer):
            continue
        record = run_record.read(each.directory)
        if record.void_cancelled and (has_newer or record.of(run.tenant).cancelled_after_delivery):
            left.append(each)
    return left


def _has_newer_file(manifest: Manifest, other: Manifest) -> bool:
    """Whether some file of a run is newer than some file of another."""
    times, others = _times(manifest), _times(other)
    return bool(times and others) and max(times) > min(others)


def _times(manifest: Manifest) -> list[int]:
    return [time for each in manifest.sources if (time := _microseconds(each.written)) is not None]


def _loaded_runs(run: OpenRun) -> list[_LoadedRun]:
    """The runs of the working directory that the tenant got something of, the open one too, oldest first."""
    loaded = {*run.ledger.runs(), run.ref.run_id}
    runs = [
        _LoadedRun(each, StagedRun(each.here, read_manifest(each)))
        for each in run.home.runs
        if each.run_id in loaded and each.manifest.exists()
    ]
    return sorted(runs, key=lambda each: each.manifest.ordinal)


def _void(run: OpenRun, sales: list[CancelledSale]) -> Iterator[DeliveryResult]:
    """Void sales, for each run that delivered some of them as `void` would do for that run."""
    by_run: dict[int, dict[str, int | None]] = {}
    for sale in sales:
        by_run.setdefault(sale.delivered_by, {})[sale.external_id] = sale.said_at
    names: Mapping[int, str] = run.ledger.run_ids()
    options = replace(run.target.options, first=None)
    # An endpoint that only creates cannot void a sale.
    if not options.endpoint.upserts:
        options = replace(options, endpoint=ENDPOINTS["queue"])
    for run_no, external_ids in sorted(by_run.items()):
        try:
            directory = run.home.find(names[run_no])
            staged = StagedRun(directory.here, read_manifest(directory))
            staged.verify()
        except RunError as error:
            run.emit(
                Notice("not_voided", f"{count(len(external_ids), 'sale')} cannot be voided: {error.message}")
            )
            continue
        result = deliver(
            run_ref(staged.manifest),
            staged.batches,
            run.target.connection,
            run.ledger,
            options,
            rules=VoidRules(only=external_ids),
            emit=run.emit,
            stop=run.target.stop,
        )
        yield result
        if result.stopped or result.error is not None:
            return
