"""One person's traces taken out of a working directory, for a deletion request.

Neither the files of the source nor what Omneo holds is touched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import cached_property
from itertools import chain, pairwise
from pathlib import Path
from typing import Final

import polars as pl

from pipeline.core import parquet
from pipeline.core.errors import ImportToolError, SettingsError
from pipeline.core.files import replacing, write_private
from pipeline.core.findings import Occurrence, RootCause
from pipeline.core.model import ITEM_FIELDS, KEY, LINE, LINES, SOURCE, TRANSACTION_FIELDS
from pipeline.extract.rows import Batch
from pipeline.extract.storage import SourceFile
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.mapping.language.load import read_mapping
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.layout.raw_transactions import without_lost
from pipeline.mapping.usage.visitor import Site, deep, plain_names, roots
from pipeline.report.facts import Facts
from pipeline.staging.erasure import blank_bodies, bodies_with, settle
from pipeline.staging.manifest import Manifest, read_manifest
from pipeline.staging.staged_run import StagedRun
from pipeline.staging.workdir import RunDir, Workdir
from pipeline.validation import quarantine
from pipeline.workflows import run_record
from pipeline.workflows.failed_transactions import UNDELIVERED_CSV
from pipeline.workflows.sources import Input, raw_rows
from pipeline.workflows.status import report
from pipeline.workflows.workdir_lock import holding

FORGOTTEN: Final = "[forgotten]"
_OF_PEOPLE: Final = {"profile_id", "profile_id_handle", "receipt_email", "name", "department", "tender"}
NOT_OF_PEOPLE: Final = (
    frozenset({*TRANSACTION_FIELDS, *ITEM_FIELDS, "product_id", "barcode", "price", "amount"}) - _OF_PEOPLE
)
"""Keys of a body that name a sale, an item, a place or a product, or hold numbers: a card's number may stand
there by chance, in the sale of somebody else. Lists and objects are looked through whatever their key."""
LEAST_CHARACTERS: Final = 6
"""Of a card or an id; a shorter one stands in too many other numbers."""
_TEXTS: Final = ("facts.json", "review.json", "report.json", "report.html", "run.log.jsonl")


@dataclass(frozen=True)
class Person:
    """Somebody by one of their names: an email, a card, an id. Letter case does not matter.

    Attributes:
        name: As Omneo or the source has it.

    Raises:
        SettingsError: It is too short to be told from other numbers.
    """

    name: str

    def __post_init__(self) -> None:
        if len(self.name) < LEAST_CHARACTERS and "@" not in self.name:
            raise SettingsError(
                f"{self.name!r} is too short to be told from other numbers.",
                hint=f"Give an email, or a card or an id of at least {LEAST_CHARACTERS} characters.",
            )

    @cached_property
    def pattern(self) -> str:
        """The name where it stands alone: `ann@x.com` is neither in `joann@x.com` nor in `ann@x.com.au`."""
        # Written without look-around, which polars' expressions have not.
        return rf"(?i)(?:^|[^\w.+-])(?:{'|'.join(self._written)})(?:$|[^\w.-]|\.(?:$|\W))"

    @cached_property
    def _written(self) -> list[str]:
        """The name as it stands in texts and in JSON."""
        forms = {self.name, json.dumps(self.name)[1:-1], json.dumps(self.name, ensure_ascii=False)[1:-1]}
        return sorted(map(re.escape, forms))

    def is_in(self, text: str | None) -> bool:
        """Whether the name stands in a text."""
        return text is not None and re.search(self.pattern, text) is not None

    def within(self, *columns: str) -> pl.Expr:
        """Whether the name stands in any of these columns, or in any text column where none is given."""
        texts = pl.col(columns) if columns else pl.col(pl.String)
        return pl.any_horizontal(texts.str.contains(self.pattern).fill_null(value=False))

    def within_body(self) -> pl.Expr:
        """Whether the name stands in a body, but for what names a sale, an item, a place or a product."""
        # Most bodies do not have it at all, and need not be cleared of such ids.
        return self.within("body") & _cleared(pl.col("body"), NOT_OF_PEOPLE).str.contains(self.pattern)

    def removed_from(self, text: str) -> str:
        """The text without the name."""
        return re.sub("|".join(self._written), FORGOTTEN, text, flags=re.IGNORECASE)


@dataclass(frozen=True)
class Traces:
    """Where a person was found in a run.

    Attributes:
        run_id: The run.
        staged: Ids of their staged transactions.
        quarantined: Reasons in the quarantine that are about their transactions.
        rows: Rows to mend that are of their transactions.
        files: Other files that name them: the report, what it is made from, the log.
    """

    run_id: str
    staged: tuple[str, ...]
    quarantined: int
    rows: int
    files: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.staged or self.quarantined or self.rows or self.files)


@dataclass(frozen=True)
class Forgotten:
    """What was removed.

    Attributes:
        runs: Where the person was found.
        words: Transactions of which the ledger had kept the server's words.
    """

    runs: tuple[Traces, ...] = ()
    words: int = 0


def forget(
    workdir: Path,
    name: str,
    *,
    ledger: str | None = None,
    agree: Callable[[Sequence[Traces]], bool] = lambda _: True,
) -> Forgotten:
    """Remove a person's traces from all runs, and from the ledger's words.

    Their staged transactions keep id, time and total and lose everything else, so that counts stay true and
    nothing is sent again. What was not sent yet never will be.

    Args:
        workdir: The working directory.
        name: Their email, card or id.
        ledger: Another ledger than the working directory's own.
        agree: Is shown what was found before anything is removed; False leaves all as it is.

    Raises:
        SettingsError: The name is too short, or the ledger cannot be used.
        WorkdirBusy: Another process holds the working directory.
    """
    person, home = Person(name.strip()), Workdir(workdir.expanduser().absolute())
    if not home.runs:
        return Forgotten()
    with holding(home, "forget", ledger):
        runs = [run for run in home.runs if run.manifest.exists()]
        for run in runs:
            settle(run, read_manifest(run))
        found = {run: traces for run in runs if (traces := _traces(run, person))}
        if not agree(tuple(found.values())):
            return Forgotten()
        for run in found:
            _forget_in(run, person)
        words = 0
        if ledger or home.ledger.exists():
            words = _forget_in_ledger(ledger or home.ledger, found, person)
        for run in found:
            report(home.path, run.run_id, ledger=ledger)
        return Forgotten(tuple(found.values()), words)


def _forget_in_ledger(where: Path | str, found: Mapping[RunDir, Traces], person: Person) -> int:
    """Count what was never sent as forgotten, and remove the server's words; gives how many there were."""
    with SqlLedger(where) as unnamed:
        known = unnamed.statuses()
        words = unnamed.forget_words(
            [external_id for traces in found.values() for external_id in traces.staged], person.name
        )
    for run, traces in found.items():
        wanted = set(traces.staged)
        order = chain.from_iterable(StagedRun(run, read_manifest(run)).batches()) if wanted else ()
        positions = {each.external_id: at for at, each in enumerate(order) if each.external_id in wanted}
        for tenant in known.get(run.run_id, {}):
            with SqlLedger(where, tenant) as ledger:
                ledger.forget(run.run_id, positions)
    return words


def _traces(run: RunDir, person: Person) -> Traces:
    manifest = read_manifest(run)
    ids = _columns_of_ids(manifest)
    texts = [(name, run.path / name) for name in _TEXTS]
    return Traces(
        run.run_id,
        tuple(bodies_with(run, manifest, person.within_body())),
        sum(frame.filter(_about(frame, person, ids)).height for _, frame in _quarantine(run)),
        sum(int(places["of_person"].sum()) for _, places in _places(run, manifest, person)),
        tuple(
            name for name, path in texts if path.exists() and person.is_in(path.read_text(encoding="utf-8"))
        ),
    )


def _forget_in(run: RunDir, person: Person) -> None:
    manifest = blank_bodies(run, read_manifest(run), person.within_body())
    ids = _columns_of_ids(manifest)
    for path, places in _places(run, manifest, person):
        _drop_rows(path, places)
    for path, frame in _quarantine(run):
        about = _about(frame, person, ids)
        if frame.select(about.any()).item():
            _rewrite(path, frame.filter(~about))
    if run.quarantine.exists():
        quarantine.finish(run.path, quarantine.RowsForm())
    (run.path / UNDELIVERED_CSV).unlink(missing_ok=True)  # the next command about the run writes it again
    _forget_in_review(run, person)
    if run.log.exists():
        write_private(run.log, person.removed_from(run.log.read_text(encoding="utf-8")))


# ── The quarantine ──────────────────────────────────────────────────────────────────────────────────


def _quarantine(run: RunDir) -> Iterator[tuple[Path, pl.DataFrame]]:
    return ((path, parquet.read(path)) for path in sorted(run.quarantine.glob("*.parquet")))


def _about(reasons: pl.DataFrame, person: Person, ids: frozenset[str]) -> pl.Expr:
    """Reasons that name the person, and all others of the same transactions."""
    field = pl.col("field").str.extract(r"([^.]+)$").is_in(sorted(NOT_OF_PEOPLE)).fill_null(value=False)
    of_field = (person.within("value") | person.within("message")) & ~field
    raw = _cleared(pl.col("raw"), ids).str.contains(person.pattern).fill_null(value=False)
    names = of_field | raw
    named = reasons.filter(names)["external_id"].drop_nulls()
    return names | pl.col("external_id").is_in(named.implode()).fill_null(value=False)


def _cleared(text: pl.Expr, keys: Collection[str]) -> pl.Expr:
    """JSON without the texts and numbers under these keys; any other text as it is."""
    if not keys:
        return text
    names = "|".join(sorted({re.escape(json.dumps(key, ensure_ascii=False)) for key in keys}))
    return text.str.replace_all(rf'(?:{names}):\s*(?:"(?:[^"\\]|\\.)*"|-?[0-9.eE+-]+)', "")


def _columns_of_ids(manifest: Manifest) -> frozenset[str]:
    """Columns of the source that only name a sale, an item, a place or a product, as far as it is known."""
    try:
        spec = read_mapping(Path(manifest.mapping["path"]), manifest.mapping_text.encode()).spec
    except ImportToolError:
        return frozenset()
    sites = {is_id: [site for site in roots(spec) if _is_of_id(site) is is_id] for is_id in (True, False)}
    ids = {*spec.source.key, *_columns_in(sites[True], spec)}
    return frozenset(ids - set(_columns_in(sites[False], spec)))


def _is_of_id(site: Site) -> bool:
    return site.place[0] in ("transaction", "items") and site.place[1] in NOT_OF_PEOPLE


def _columns_in(sites: Iterable[Site], spec: MappingSpec) -> Iterator[str]:
    """Columns that values name, also by what the mapping defines; those within SQL are left out."""
    for site in sites:
        for inner in deep(site):
            for name in plain_names(inner.value):
                if name in spec.define:
                    yield from _columns_in([Site(("define", name), spec.define[name], inner.scope)], spec)
                else:
                    yield name


def _rewrite(path: Path, rows: pl.DataFrame) -> None:
    """Put rows in place of a file, or remove it where none are left."""
    if rows.is_empty():
        path.unlink()
        return
    with replacing(path) as file:
        rows.write_parquet(file)


# ── The rows to mend ────────────────────────────────────────────────────────────────────────────────


def _places(run: RunDir, manifest: Manifest, person: Person) -> list[tuple[Path, pl.DataFrame]]:
    """For each file of rows to mend: LINE of each row, and whether it is `of_person`.

    That is a row that names them, or another row of the same transaction. A file that cannot be read any
    more is theirs as a whole.
    """
    paths = [path for path in sorted(run.path.glob("quarantine_rows*/*")) if path.is_file()]
    paths += [path for path in sorted(run.path.glob("quarantine_rows.*")) if path.is_file()]
    if not paths:
        return []
    try:
        spec = read_mapping(Path(manifest.mapping["path"]), manifest.mapping_text.encode()).spec
        places = _read_places(paths, spec, person, _columns_of_ids(manifest))
    except ImportToolError:
        whole = pl.DataFrame(
            {LINE: [1], "of_person": [True]}, schema={LINE: pl.Int64, "of_person": pl.Boolean}
        )
        return [(path, whole) for path in paths]
    return [(path, places.filter(pl.col(SOURCE) == n)) for n, path in enumerate(paths)]


def _read_places(
    paths: Sequence[Path], spec: MappingSpec, person: Person, ids: frozenset[str]
) -> pl.DataFrame:
    found = [pl.DataFrame(schema=_PLACES)]

    def look(each: Input, batch: Batch, _skipped: int) -> None:
        broken = batch.malformed.select(
            pl.lit(each.position, pl.UInt32).alias(SOURCE),
            LINE,
            pl.lit(None, pl.UInt64).alias(KEY),
            person.within("raw").alias("of_person"),
        )
        found.append(broken)

    files = [SourceFile(str(path), path.name, path.stat().st_size) for path in paths]
    inputs = [Input(file, _table_of(file.name, spec), n) for n, file in enumerate(files)]
    for table, rows in raw_rows(inputs, spec, look):
        good, _ = without_lost({table: rows})
        texts = [name for name in rows.select(pl.col(pl.String)).columns if name not in ids]
        of_person = person.within(*texts) if texts else pl.lit(False)
        found.append(good[table].select(SOURCE, LINE, KEY, of_person.alias("of_person")))
    places = pl.concat(found)
    keys = places.filter("of_person")[KEY].drop_nulls()
    return places.with_columns(
        pl.col("of_person") | pl.col(KEY).is_in(keys.implode()).fill_null(value=False)
    ).sort(SOURCE, LINE)


_PLACES: Final = {SOURCE: pl.UInt32, LINE: pl.Int64, KEY: pl.UInt64, "of_person": pl.Boolean}


def _table_of(name: str, spec: MappingSpec) -> str:
    fitting = (
        str(table)
        for table, entry in spec.source.tables.items()
        if any(fnmatch(name, glob) for glob in entry.inputs)
    )
    return next(fitting, LINES)


def _drop_rows(path: Path, places: pl.DataFrame) -> None:
    """Remove a person's rows from a file; the file too, where no others are left."""
    if not places["of_person"].any():
        return
    if places["of_person"].all():
        path.unlink()
    elif path.suffix == ".parquet":
        numbers = places.filter("of_person")[LINE]
        rows = parquet.read(path).with_row_index("row", offset=1)
        _rewrite(path, rows.filter(~pl.col("row").is_in(numbers.implode())).drop("row"))
    else:
        _drop_lines(path, places)


def _drop_lines(path: Path, places: pl.DataFrame) -> None:
    """A row reaches to where the next one starts; what is before the first one is the header."""
    lines = path.read_bytes().split(b"\n")
    starts = [*places[LINE], len(lines)]
    kept = lines[: starts[0] - 1]
    for (start, end), drop in zip(pairwise(starts), places["of_person"], strict=True):
        kept += [] if drop else lines[start - 1 : end - 1]
    write_private(path, b"\n".join([*kept, b""]))


# ── The report ──────────────────────────────────────────────────────────────────────────────────────


def _forget_in_review(run: RunDir, person: Person) -> None:
    kept = run_record.saved(run)
    facts = Facts.from_json((run.path / "facts.json").read_text(encoding="utf-8"))
    samples = facts.samples.filter(~person.within_body().fill_null(value=False))
    causes = tuple(_without(cause, person) for cause in kept.causes)
    run_record.save(run, replace(kept, causes=causes), replace(facts, samples=samples))


def _without(cause: RootCause, person: Person) -> RootCause:
    return replace(
        cause,
        title=person.removed_from(cause.title),
        shape=None if cause.shape is None else person.removed_from(cause.shape),
        fix=person.removed_from(cause.fix),
        examples=tuple(each for each in cause.examples if not _names(each, person)),
    )


def _names(example: Occurrence, person: Person) -> bool:
    return person.is_in(example.value) or person.is_in(example.message)
