"""The dry run: files become a staged run, in memory that does not grow with the input.

Each partition of rows goes through mapping, validation and encoding on its own; it is also what another
machine can take. What only a look over all partitions can tell (transactions whose rows are far apart,
ids that occur twice) is found by comparing small keys afterwards, and only those partitions are staged again.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from pipeline import __version__
from pipeline.core.errors import CannotStart, ImportToolError, MappingError, Problem, SourceError
from pipeline.core.events import Emit, Notice, Progress, StageFinished, StageStarted
from pipeline.core.files import private_dir
from pipeline.core.findings import Anomaly, ControlRow, Occurrence, RootCause
from pipeline.core.frames import NO_PROBLEMS, problems_at
from pipeline.core.memory import USUAL, Budget
from pipeline.core.model import CODES, LINE, LINES, SOURCE, TX, Outcome
from pipeline.engine.local import Engine
from pipeline.extract.rows import Batch
from pipeline.extract.storage import SourceFile, fingerprint, in_order_written, unchanged
from pipeline.mapping.compile.check import check_mapping, compiled_and_checked, mapping_notices
from pipeline.mapping.compile.compiler import CompiledMapping
from pipeline.mapping.functions.rule_conditions import compile_rule
from pipeline.mapping.language.load import LoadedMapping
from pipeline.mapping.language.mapping_errors import FAILURES
from pipeline.mapping.language.spec import Check, MappingSpec, Rule
from pipeline.mapping.layout.file_versions import choose_versions
from pipeline.mapping.layout.raw_transactions import Shaped, Tables, shape, structural_columns, without_lost
from pipeline.mapping.usage.column_names import unmapped_columns
from pipeline.report.facts import Facts, measure, measure_reasons
from pipeline.report.facts import merge as merge_facts
from pipeline.report.summary import AccountingBroken, Rows, Transactions, totals_of
from pipeline.staging.manifest import Manifest, PartRecord, SourceRecord, microseconds
from pipeline.staging.partitions.hashes import Hashes, repeated
from pipeline.staging.partitions.partitioning import (
    AdjacentPartitioning,
    KeyPartitioning,
    Partition,
    Partitioning,
    Scattered,
)
from pipeline.staging.payloads import encode
from pipeline.staging.staged_run import discard_part, write_no_part, write_part
from pipeline.staging.workdir import RunDir
from pipeline.validation import causes, quarantine
from pipeline.validation.control import ControlTotals, compare, read_control, totals
from pipeline.validation.findings import findings
from pipeline.validation.formats import contradictions
from pipeline.validation.judge import ACCEPTED, Verdict, agreeing, judge
from pipeline.validation.policy import OwnRule, Policy
from pipeline.validation.statistics import Observations, observe
from pipeline.validation.statistics import merge as merge_observations
from pipeline.workflows import run_record
from pipeline.workflows.incremental import FIXED_BY_TIME, recipe
from pipeline.workflows.isolation import unjudged
from pipeline.workflows.row_accounting import RowCounts, count_lost_of_known_sales, count_rows
from pipeline.workflows.sources import Choose, Input, columns_of, find_inputs, raw_rows, take_all

STAGE = "prepare"
PLAIN = (".csv", ".txt", ".tsv")
COLUMNS_TOLD = 12
COMPRESSED = 8
"""How much larger compressed input is taken to be inside; only the size of partitions depends on it."""


@dataclass(frozen=True)
class Plan:
    """Everything that is known before the first row is read.

    Attributes:
        mapping: The mapping.
        compiled: The mapping over the source's columns.
        policy: How strictly transactions are judged.
        inputs: The files with transactions.
        columns: The columns of each table, in order.
        lookups: The files of look-up tables among the sources.
        unmapped: How many columns the mapping neither uses nor ignores.
        control: Control totals to compare with; None where there are none.
        started_at: When the run began; later is the future.
        budget: How much memory it may take.
    """

    mapping: LoadedMapping
    compiled: CompiledMapping
    policy: Policy
    inputs: tuple[Input, ...]
    columns: Mapping[str, Sequence[str]]
    lookups: tuple[SourceFile, ...]
    unmapped: int
    control: ControlTotals | None
    started_at: datetime
    budget: Budget

    @property
    def spec(self) -> MappingSpec:
        """The mapping's values."""
        return self.mapping.spec

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the files, by SOURCE."""
        return tuple(each.file.name for each in self.inputs)

    @property
    def short_names(self) -> tuple[str, ...]:
        """Names for people, by SOURCE: without their directories where they differ without."""
        short = tuple(PurePosixPath(name).name for name in self.names)
        return short if len(set(short)) == len(short) else self.names

    @cached_property  # every partition asks for it
    def written(self) -> dict[int, int]:
        """The place of each file, by SOURCE, in the order in which they were written."""
        places = in_order_written([each.file for each in self.inputs])
        return {each.position: place for each, place in zip(self.inputs, places, strict=True)}

    @property
    def input_bytes(self) -> int:
        """About how much text the files hold."""
        return sum(
            each.file.size * (1 if each.file.uri.endswith(PLAIN) else COMPRESSED) for each in self.inputs
        )


def plan(
    mapping: LoadedMapping,
    arguments: Sequence[str],
    emit: Emit,
    control: Path | None = None,
    choose: Choose = take_all,
    budget: Budget = USUAL,
) -> Plan:
    """Look at mapping and files together, before anything is made.

    Args:
        mapping: The mapping.
        arguments: Files, globs or one directory.
        emit: Is told what a person should know.
        control: A file of control totals.
        choose: Which of the files are read.
        budget: How much memory the run may take.

    Raises:
        NothingNew: None of the files was chosen.
        MappingError: The mapping does not work, or not with these columns; every problem is told.
        SourceError: A file cannot be used.
    """
    refuse(check_mapping(mapping))
    inputs, lookups = find_inputs(mapping.spec, arguments, choose)
    columns, notices = columns_of(inputs, mapping.spec)
    compiled, problems = compiled_and_checked(mapping, columns, [file.uri for file in lookups])
    refuse(problems, hint=_there_are(columns))
    for notice in notices:
        emit(Notice("source", notice))
    for problem in mapping_notices(mapping, columns):
        emit(Notice("mapping", str(problem)))
    return Plan(
        mapping,
        compiled,
        policy_of(mapping.spec),
        tuple(inputs),
        columns,
        tuple(lookups),
        sum(map(len, unmapped_columns(mapping.spec, columns).values())),
        read_control(control) if control else None,
        datetime.now(UTC),
        budget,
    )


def refuse(problems: Sequence[Problem], *, hint: str = "") -> None:
    """Raise what is wrong with a mapping, if anything is."""
    if problems:
        raise MappingError(problems, hint=hint)


def _there_are(columns: Mapping[str, Sequence[str]]) -> str:
    """Which columns the source has; a name is cut where it is no name."""
    lists = {table: ", ".join(name[:80] for name in names) for table, names in columns.items()}
    if len(lists) == 1:
        return f"The source has the columns {next(iter(lists.values()))}."
    return "\n  ".join(f"The table {table} has the columns {names}." for table, names in lists.items())


def policy_of(spec: MappingSpec) -> Policy:
    """How strictly a mapping wants its transactions to be judged."""
    checks = {
        code: check if isinstance(check, Check) else Check(severity=check)
        for code, check in spec.checks.items()
    }
    return Policy(
        severities={code: check.severity for code, check in checks.items() if check.severity},
        tolerances={code: check.tolerance for code, check in checks.items() if check.tolerance is not None},
        rules=tuple(_own_rule(rule) for rule in spec.rules),
    )


def _own_rule(rule: Rule) -> OwnRule:
    compiled = compile_rule(rule.when)
    return OwnRule(rule.code, compiled.when, rule.message, rule.severity, tuple(compiled.first))


# ── Rows ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Tally:
    """What was seen while the rows were read for the first time.

    Attributes:
        rows: Rows by SOURCE, those included that were malformed or skipped.
        malformed: Problems of the rows that could not be read, by table.
        skipped: Rows that were blank or repeated the header.
        replaced: Rows with characters that could not be read.
    """

    rows: dict[int, int] = field(default_factory=dict)
    malformed: dict[str, list[pl.DataFrame]] = field(default_factory=dict)
    skipped: int = 0
    replaced: int = 0

    def clear(self) -> None:
        """Forget what was counted of a reading that was broken off."""
        self.rows, self.malformed, self.skipped, self.replaced = {}, {}, 0, 0

    def look(self, source: Input, batch: Batch, skipped: int) -> None:
        """Count a batch as the reader gave it."""
        rows = batch.rows.height + batch.malformed.height + batch.blank
        self.rows[source.position] = self.rows.get(source.position, 0) + rows
        self.skipped += skipped
        self.replaced += len(batch.replaced)
        if batch.malformed.height:
            self.malformed.setdefault(source.table, []).append(_malformed_problems(source, batch.malformed))

    @property
    def malformed_rows(self) -> int:
        """Rows that could not be read."""
        return sum(frame.height for frames in self.malformed.values() for frame in frames)


def _malformed_problems(source: Input, malformed: pl.DataFrame) -> pl.DataFrame:
    rows = malformed.with_columns(pl.lit(None).alias(TX), pl.lit(source.position).alias(SOURCE))
    return problems_at(rows, "malformed_row", pl.col("message"), raw=pl.col("raw"))


class _Source:
    """The rows of a plan's inputs; the first reading that comes to their end is tallied."""

    def __init__(self, plan: Plan, tally: Tally) -> None:
        self._plan = plan
        self._tally = tally
        self._tallied = False

    def __call__(self) -> Iterator[tuple[str, pl.DataFrame]]:
        if not self._tallied:
            self._tally.clear()
        look = _overlook if self._tallied else self._tally.look
        yield from raw_rows(self._plan.inputs, self._plan.spec, look)
        self._tallied = True


def _overlook(source: Input, batch: Batch, skipped: int) -> None:
    """What was tallied once is not tallied again."""


def partitioning_of(plan: Plan, run: RunDir, tally: Tally) -> Partitioning:
    """How a plan's rows are cut: as they are read if one file has all rows of a transaction, else by key."""
    kind = KeyPartitioning if plan.spec.source.tables else AdjacentPartitioning
    return kind(_Source(plan, tally), plan.input_bytes, run.scratch, plan.budget)


# ── Partitions ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Staged:
    """What became of a partition. Its bodies, its quarantine, its facts and its hashes are on disk by then.

    Attributes:
        number: The partition's.
        rows: Its rows by outcome.
        part: The record of its staged part; None where it accepted nothing.
        waiting: The files, by SOURCE, with sales that only have to be read again later.
        lost_of_known_sales: How many malformed rows belong to a sale that is known, and rejected.
    """

    number: int
    rows: RowCounts
    part: PartRecord | None
    waiting: frozenset[int] = frozenset()
    lost_of_known_sales: int = 0


def stage(plan: Plan, partitioning: Partitioning, run: RunDir, engine: Engine, emit: Emit) -> list[Staged]:
    """Stage all partitions of a run, and give what became of each, in order."""
    begun = time.monotonic()
    emit(StageStarted(STAGE, "rows"))
    for directory in (run.staged, run.quarantine, run.scratch):
        private_dir(directory)
    done: dict[int, Staged] = {}

    none = repeated([])

    def work(some: Iterator[Partition], conflicts: pl.Series) -> None:
        for each in engine.map(partial(stage_partition, plan=plan, run=run, conflicts=conflicts), some):
            done[each.number] = each
            emit(Progress(STAGE, sum(each.rows.all for each in done.values())))

    try:
        work(partitioning.read(), none)
    except Scattered as scattered:
        _discard(run, done, range(scattered.given))
        partitioning = scattered.by_key
        work(partitioning.read(), none)
    if changed := partitioning.bring_together(_keys(run, done)):
        _discard(run, done, changed)
        work(partitioning.read(changed), none)
    ids = _ids(run, done)
    conflicts = repeated(ids.values())
    if len(conflicts):
        concerned = {n for n, own in ids.items() if own.is_in(conflicts.implode()).any()}
        work(partitioning.read(concerned), conflicts)
    if not any(each.part for each in done.values()):
        write_no_part(run)
    emit(StageFinished(STAGE, sum(each.rows.all for each in done.values()), time.monotonic() - begun))
    return [done[number] for number in sorted(done)]


def stage_partition(partition: Partition, plan: Plan, run: RunDir, conflicts: pl.Series) -> Staged:
    """Take one partition all the way: shape, map, judge, encode, write.

    Args:
        partition: The rows.
        plan: What they are mapped and judged by.
        run: Where the results go; those of the same partition before are replaced.
        conflicts: Hashes of external ids that several transactions of the run have.
    """
    tables, lost = without_lost(partition.tables)
    judged = _judged_safely(tables, lost, plan, conflicts)
    shaped, verdict, staged = judged.shaped, judged.verdict, judged.staged
    part = write_part(run, partition.number, staged, plan.budget.partitions(plan.input_bytes))
    quarantine.write_part(run.path, partition.number, verdict, shaped, plan.names)
    run_record.keep(run, partition.number, _found(plan, judged.items, verdict, staged))
    _keys(run).put(partition.number, partition.keys())
    accepted = verdict.transactions(ACCEPTED)
    _ids(run).put(partition.number, _hashes(accepted))
    _item_ids(run).put(partition.number, _item_hashes(judged.items, accepted))
    rows = count_rows(partition.tables, shaped, judged.left_out, verdict)
    known = count_lost_of_known_sales(partition.tables)
    return Staged(partition.number, rows, part, _waiting(verdict, shaped), known)


@dataclass(frozen=True)
class Judged:
    """A partition's transactions as they are judged.

    Attributes:
        shaped: The transactions as raw cells.
        left_out: SOURCE and LINE of rows that do not count because those of another file do.
        items: Their items, mapped.
        verdict: What becomes of each.
        staged: The bodies of those that are accepted.
    """

    shaped: Shaped
    left_out: pl.DataFrame
    items: pl.DataFrame
    verdict: Verdict
    staged: pl.DataFrame


def _judged(
    tables: Tables,
    lost: pl.DataFrame,
    plan: Plan,
    conflicts: pl.Series,
    unjudged: pl.DataFrame | None = None,
) -> Judged:
    agrees = partial(agreeing, policy=plan.policy, now=plan.started_at)
    chosen = choose_versions(tables, plan.compiled, plan.written, agrees)
    shaped = shape(chosen.tables, plan.spec, pl.concat([chosen.notes, chosen.still_short(lost)]))
    mapped = plan.compiled.apply(shaped)
    if len(conflicts):
        mapped = replace(
            mapped, problems=pl.concat([mapped.problems, _conflict_problems(mapped.headers, conflicts)])
        )
    verdict = judge(mapped, plan.policy, plan.started_at)
    if unjudged is not None:
        verdict = verdict.rejecting(unjudged, "field_invalid")
    accepted = verdict.transactions(ACCEPTED)
    staged = encode(accepted, mapped.items).with_columns(_places(accepted, plan))
    return Judged(shaped, chosen.left_out, mapped.items, verdict, staged)


def _judged_safely(tables: Tables, lost: pl.DataFrame, plan: Plan, conflicts: pl.Series) -> Judged:
    """Judge a partition's transactions; those that cannot be judged are rejected, and the rest goes on."""
    try:
        return _judged(tables, lost, plan, conflicts)
    except ImportToolError:
        raise
    except FAILURES:
        odd = unjudged(tables, partial(_judged, lost=lost, plan=plan, conflicts=conflicts))
        if odd is None:
            raise
        if not odd.all_found:
            raise _too_many(odd.rows, plan) from None
        blanked = odd.blanked(tables, structural_columns(plan.spec))
        judged = _judged(blanked, lost, plan, conflicts, odd.rows)
        # Shown is what was read.
        return replace(judged, shaped=replace(judged.shaped, rows=tables))


def _too_many(rows: pl.DataFrame, plan: Plan) -> CannotStart:
    source, line, message = rows.select(SOURCE, LINE, "message").row(0)
    return CannotStart(
        f"{plan.names[source]}:{line}: this sale and many others cannot be computed: {message}. "
        "So many are a fault of the mapping and not of single cells: correct the formula or rule whose "
        "result is too large or does not fit its cells."
    )


def _waiting(verdict: Verdict, shaped: Shaped) -> frozenset[int]:
    """The files, by SOURCE, that hold rows of sales which were rejected only for what time alone fixes."""
    rejections = verdict.reasons.filter(pl.col("outcome") == Outcome.REJECTED.value)
    by_time = pl.col("code").is_in(FIXED_BY_TIME).all()
    waiting = rejections.group_by(TX).agg(by_time).filter("code").select(TX)
    if waiting.is_empty():
        return frozenset()
    return frozenset(shaped.members.join(waiting, on=TX, how="semi")[SOURCE].unique().to_list())


def _places(headers: pl.DataFrame, plan: Plan) -> pl.DataFrame:
    """`source`, `line` and `source_time` of each transaction's first row."""
    # A time that lies in the future would make all that comes later look older.
    written = [each.file.written and min(each.file.written, plan.started_at) for each in plan.inputs]
    times = [moment and microseconds(moment) for moment in written]
    source = headers[SOURCE]
    return pl.DataFrame(
        {
            "source": pl.Series(plan.names, dtype=pl.String).gather(source),
            "line": headers[LINE],
            "source_time": pl.Series(times, dtype=pl.Int64).gather(source),
        }
    )


@dataclass(frozen=True)
class Found:
    """What a partition, or a whole run, adds to the report.

    Attributes:
        facts: What there is.
        observations: What statistical warnings are made from.
        groups: Reasons, grouped by cause.
        totals: By the dimensions of the control totals; empty where there are none.
        repeated_items: How many ids of items several sales of the run have; 0 for a partition.
    """

    facts: Facts
    observations: Observations
    groups: pl.DataFrame
    totals: pl.DataFrame
    repeated_items: int = 0


def _found(plan: Plan, items: pl.DataFrame, verdict: Verdict, staged: pl.DataFrame) -> Found:
    headers, outcomes, reasons = verdict.headers, verdict.outcomes, verdict.reasons
    return Found(
        measure(headers, items, outcomes, reasons).with_bodies(staged),
        observe(headers, items, outcomes, reasons),
        causes.group(reasons),
        totals(headers, outcomes, plan.control.by) if plan.control else pl.DataFrame(),
    )


def _discard(run: RunDir, done: dict[int, Staged], numbers: Iterable[int]) -> None:
    """Forget partitions that will be staged again, or that have no rows left."""
    for number in numbers:
        discard_part(run, number)
        quarantine.discard_part(run.path, number)
        run_record.forget(run, number)
        _keys(run).drop(number)
        _ids(run).drop(number)
        _item_ids(run).drop(number)
        done.pop(number, None)


def _keys(run: RunDir, partitions: Collection[int] = ()) -> Hashes:
    """The distinct transaction keys of each partition's rows."""
    return Hashes(run.scratch, "keys", partitions)


def _ids(run: RunDir, partitions: Collection[int] = ()) -> Hashes:
    """Hashes of the external ids that each partition accepted."""
    return Hashes(run.scratch, "ids", partitions)


def _item_ids(run: RunDir, partitions: Collection[int] = ()) -> Hashes:
    """Hashes of the ids of the items that each partition accepted."""
    return Hashes(run.scratch, "item-ids", partitions)


def _item_hashes(items: pl.DataFrame, accepted: pl.DataFrame) -> pl.Series:
    """The hashes of item ids; within a sale each id is there once."""
    if "external_id" not in items.columns:
        return pl.Series([], dtype=pl.UInt64)
    ids = items.filter(pl.col(TX).is_in(accepted[TX].implode()))["external_id"]
    return ids.drop_nulls().hash(seed=0)


def _hashes(headers: pl.DataFrame) -> pl.Series:
    # The same seed everywhere: partitions are compared with each other, on whatever machine they were staged.
    return headers["external_id"].hash(seed=0)


def _conflict_problems(headers: pl.DataFrame, conflicts: pl.Series) -> pl.DataFrame:
    value = pl.col("external_id")
    return problems_at(
        headers.filter(value.hash(seed=0).is_in(conflicts.implode())),
        "external_id_conflict",
        pl.format("another transaction has the id {} too", value),
        field="external_id",
        value=value,
    )


# ── The whole run ───────────────────────────────────────────────────────────────────────────────────


def found_in(run: RunDir, tally: Tally, staged: Sequence[Staged]) -> Found:
    """Add up what all partitions found, and the rows that never became a transaction."""
    unreadable = [frame for frames in tally.malformed.values() for frame in frames]
    malformed = pl.concat([NO_PROBLEMS, *unreadable])
    reasons = malformed.with_columns(pl.lit("rejected").alias("outcome"))
    total = Found(measure_reasons(reasons), merge_observations([]), causes.group(reasons), pl.DataFrame())
    kept = run_record.kept(run)
    # Some at a time, since memory holds no more; not fewer, since each time their sum is added up again.
    while some := [total, *islice(kept, 32)][1:]:
        both = [total, *some]
        total = Found(
            merge_facts([each.facts for each in both]),
            merge_observations([each.observations for each in both]),
            causes.merge([each.groups for each in both]),
            pl.concat([each.totals for each in both], how="diagonal"),
        )
    items = repeated(_item_ids(run, [each.number for each in staged]).values())
    return replace(total, repeated_items=len(items))


def controls_of(plan: Plan, found: Found) -> tuple[ControlRow, ...]:
    """The control totals beside what was found."""
    if plan.control is None:
        return ()
    return tuple(compare(plan.control, [found.totals]))


def causes_of(plan: Plan, found: Found, tally: Tally) -> tuple[RootCause, ...]:
    """Why transactions were rejected or dropped, and what else a person should know of the rows."""
    of_reasons = causes.causes(found.groups, plan.short_names)
    return (*of_reasons, *_of_columns(plan), *_of_run(plan, found, tally))


def _of_columns(plan: Plan) -> Iterator[RootCause]:
    """Columns that the mapping does not use, a cause a table."""
    about = CODES["unmapped_column"]
    for table, names in unmapped_columns(plan.spec, plan.columns).items():
        file = next(plan.short_names[each.position] for each in plan.inputs if each.table == table)
        told = tuple(Occurrence(name, f"`{name}` is not used", file, 1) for name in names[:COLUMNS_TOLD])
        yield RootCause("warning", about.name, about.title, None, None, len(names), about.fix, told)


def _of_run(plan: Plan, found: Found, tally: Tally) -> Iterator[RootCause]:
    """What only all of the run shows."""
    seen = {"formats_disagree": [f" {each.evidence}." for each in contradictions(found.observations)]}
    for code, number in _noticed(plan, found, tally).items():
        about = CODES[code]
        fix = "".join([about.fix, *seen.get(code, ())])
        yield RootCause("warning", about.name, about.title, None, None, number, fix)


def _noticed(plan: Plan, found: Found, tally: Tally) -> dict[str, int]:
    """Warnings about the run as a whole, and how often; without those that the mapping does not want to know.

    These are rows with characters that could not be read, ids of items that several sales have, and sales of
    which the date stands in a format that another one contradicts.
    """
    numbers = {
        "encoding_replaced": tally.replaced,
        "item_external_id_repeated": found.repeated_items,
        "formats_disagree": sum(each.sales for each in contradictions(found.observations)),
    }
    return {
        code: number for code, number in numbers.items() if number and plan.policy.severity(code) != "off"
    }


def findings_of(plan: Plan, found: Found) -> tuple[Anomaly, ...]:
    """The statistical warnings."""
    return tuple(findings(found.observations, plan.short_names))


def write_quarantine(plan: Plan, run: RunDir, tally: Tally) -> None:
    """Put the quarantine's files together."""
    for table, frames in tally.malformed.items():
        quarantine.write_malformed(run.path, pl.concat(frames), plan.names, table)
    source = plan.spec.source
    first = {each.table: each.file.name for each in reversed(plan.inputs)}
    globs = {str(table): entry.inputs for table, entry in source.tables.items()} or {LINES: source.inputs}
    names = quarantine.file_names(first, globs)
    form = quarantine.RowsForm(source.csv, source.format or "csv", plan.columns, names)
    quarantine.finish(run.path, form)


@contextmanager
def beside(function: Callable[..., None], *arguments: object) -> Iterator[None]:
    """Do something else while the `with` block runs; it is done, or has failed, when that ends."""
    with ThreadPoolExecutor(1, thread_name_prefix="beside") as pool:
        done = pool.submit(function, *arguments)
        yield
        done.result()


@contextmanager
def fingerprinting(plan: Plan) -> Iterator[Callable[[], list[str]]]:
    """Take the fingerprints of the files beside other work; gives a function that waits for them."""
    with ThreadPoolExecutor(1, thread_name_prefix="fingerprint") as pool:
        taken = [pool.submit(fingerprint, each.file) for each in plan.inputs]
        try:
            yield lambda: [each.result() for each in taken]
        finally:
            pool.shutdown(cancel_futures=True)


def source_records(
    plan: Plan, tally: Tally, staged: Sequence[Staged], fingerprints: Sequence[str]
) -> tuple[SourceRecord, ...]:
    """Say which files were read.

    Raises:
        SourceError: A file changed while it was read.
    """
    for each in plan.inputs:
        if not unchanged(each.file):
            raise SourceError(
                f"{each.file.name} was changed while it was read; nothing was staged.",
                hint="Prepare again once the export is complete.",
            )
    waiting = frozenset[int]().union(*(each.waiting for each in staged))
    return tuple(
        SourceRecord(
            each.file.name,
            each.table,
            each.file.size,
            tally.rows.get(each.position, 0),
            each.file.modified.isoformat() if each.file.modified else "",
            taken,
            each.file.uri,
            each.file.written.isoformat() if each.file.written else "",
            each.position in waiting,
        )
        for each, taken in zip(plan.inputs, fingerprints, strict=True)
    )


def counts(plan: Plan, tally: Tally, staged: Sequence[Staged], found: Found) -> dict[str, Any]:
    """The parts of the summary that say what was read and what became of it.

    Raises:
        AccountingBroken: The rows that were read, and those that have an outcome, are not as many.
    """
    facts = found.facts
    outcomes = {name: facts.transactions(name) for name in ("accepted", "dropped", "rejected")}
    of_partitions = [each.rows for each in staged]
    rows = Rows(
        read=sum(tally.rows.values()),
        malformed=tally.malformed_rows,
        duplicate=sum(each.duplicate for each in of_partitions),
        skipped=tally.skipped + sum(each.skipped for each in of_partitions),
    )
    ended = tally.skipped + sum(each.all for each in of_partitions)
    if rows.read != ended or rows.malformed != sum(each.malformed for each in of_partitions):
        raise AccountingBroken(
            f"{rows.read} rows were read, {rows.malformed} of them malformed, but {ended} have an outcome, "
            f"{sum(each.malformed for each in of_partitions)} of them as malformed."
        )
    unmapped = {"unmapped_column": plan.unmapped} if plan.unmapped else {}
    return {
        "rows": rows,
        "transactions": Transactions(sum(outcomes.values()), **outcomes),
        "dropped": facts.by_code("dropped"),
        "rejected": facts.by_code("rejected"),
        "warnings": facts.by_code("warning") | _noticed(plan, found, tally) | unmapped,
        "totals": totals_of({name: facts.sums(name) for name in outcomes}),
    }


def manifest_of(
    plan: Plan,
    run: RunDir,
    sources: tuple[SourceRecord, ...],
    staged: Sequence[Staged],
    summary: Mapping[str, Any],
) -> Manifest:
    """The immutable record of a run."""
    return Manifest(
        run_id=run.run_id,
        created_at=plan.started_at.isoformat(),
        mapping={
            "name": plan.spec.mapping,
            "path": str(plan.mapping.path),
            "digest": plan.mapping.digest,
            "recipe": recipe(plan.mapping, plan.lookups),
        },
        mapping_text=plan.mapping.document.text,
        sources=sources,
        parts=tuple(each.part for each in staged if each.part is not None),
        versions={
            "omneo-import": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("polars", "pyarrow", "pandera")},
        },
        summary=dict(summary),
    )
