"""`scaffold`: drafts a mapping, tries it on the sample as a run would, and goes on to the next guess."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Final

import polars as pl

from pipeline.core.errors import ImportToolError, SourceError
from pipeline.core.model import LINE, LINES, TX, Worksheet
from pipeline.core.storage.file_formats import DATA_GLOBS
from pipeline.core.text.wording import agree, count, part
from pipeline.extract.sniff import Sniffed, sniff
from pipeline.extract.source_files import SourceFile, find_sources
from pipeline.mapping.language.mapping_file import LoadedMapping, read_mapping
from pipeline.mapping.scaffold.draft import draft
from pipeline.mapping.scaffold.guards import unguarded
from pipeline.mapping.scaffold.joined_files import likeness, shapes_of
from pipeline.mapping.scaffold.reading import Reading, readings_of
from pipeline.mapping.scaffold.samples import Sample, glob_of, kinds_of, null_words
from pipeline.mapping.scaffold.shape import Shape
from pipeline.validation.outcomes import ACCEPTED
from pipeline.workflows.mapping_tests import judge_rows

_SURE: Final = 0.9
"""From this confidence on, an encoding is taken to be known."""
_FILES: Final = 24
"""Files that are looked at, and of them those whose names differ only in a date or number."""
_FILES_ALIKE: Final = 5
_BYTES: Final = 6 << 20
"""Bytes up to which files are looked at as a whole, over all files."""
_ROWS_OF_SHORT: Final = 200_000
_ROWS: Final = 30_000
"""Rows of longer files that are looked at, over all files, and of one at least."""
_ROWS_LEAST: Final = 500
_SHEETS: Final = 8
"""Further sheets of a workbook that are looked at."""
_TRIALS: Final = 8
_REJECTED: Final = 0.05
"""The share of sales that may be rejected for one reason: defects of the export, not of the draft."""
_UNREAD: Final = 0.01
"""The share of sales that may be rejected for what a few defects do not explain."""
_RARE: Final = ("transacted_at_invalid", "price_invalid", "quantity_invalid")
"""Such reasons: more dates are in another form, and of more sales the other lines would be lost."""

_FIELD: Final[Mapping[str, str]] = {
    "header_conflict": "external_id",
    "external_id_conflict": "external_id",
    "external_id_missing": "external_id",
    "id_rounded": "external_id",
    "key_missing": "external_id",
    "items_missing": "external_id",
    "orphan_item": "external_id",
    "total_mismatch": "total",
    "total_invalid": "total",
    "total_missing": "total",
    "transacted_at_invalid": "transacted_at",
    "transacted_at_missing": "transacted_at",
    "transacted_at_future": "transacted_at",
    "timezone_unknown": "transacted_at",
    "quantity_invalid": "quantity",
    "price_invalid": "price_sell",
}
"""The field that is wrong where many sales are rejected for a reason."""
_REQUIRED: Final = frozenset({*_FIELD.values(), "name", "price_current"})
_ROLE: Final[Mapping[str, str]] = {
    "profile_id": "email",
    "profile_id_handle": "email",
    "currency": "currency",
    "payments": "tender",
    "location_id": "store",
    "staff_id": "staff",
    "timezone": "timezone",
}
"""The roles without which a draft can do, where many sales are rejected for a field."""
_WARNED: Final[Mapping[str, str]] = {
    "total_mismatch": "with lines that do not add up to the total which the file gives",
    "profile_invalid": "with a malformed customer, imported as those of guests",
}
"""What is no reason for a draft to leave a few sales out, since what they are worth is known all the same."""
_FEW: Final = 3
_LACKING: Final = (
    *("items_missing", "total_missing", "total_invalid"),
    *("transacted_at_missing", "transacted_at_invalid"),
)
"""Reasons that say nothing against a draft where the export has blank cells or words such as `N/A`."""
_FOLLOWING: Final = ("total_missing", "price_invalid", "quantity_invalid")
"""Reasons that follow from one of those."""
_LACKING_AT_MOST: Final = 0.25
"""The share of sales that may lack something: with more, a run ends at its gate."""


@dataclass(frozen=True)
class _Trial:
    """What became of the sample's sales.

    Attributes:
        read: How many there are.
        accepted: How many of them are accepted.
        dropped: How many are left out on purpose.
        rejected: By code, how many are rejected.
        lacking: By code, how many of them are rejected since the export has no value.
        fields: By code, the field that most of them are rejected for.
        worth: What the accepted ones are worth.
        days: The first and the last day.
        failed: Why the draft could not be tried.
    """

    read: int = 0
    accepted: int = 0
    dropped: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    lacking: Mapping[str, int] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    worth: str = ""
    days: str = ""
    failed: str = ""

    @property
    def faults(self) -> dict[str, int]:
        """By code, how many sales are rejected, where those are too many."""
        # In a few sales a single defect is a large share.
        one = 1 if self.read > 3 else 0
        least = {code: max(self.read * _REJECTED, one) for code in self.rejected}
        least |= {code: max(self.read * _UNREAD, one) for code in _RARE}
        return {
            code: number
            for code, number in self.rejected.items()
            if number - self.lacking.get(code, 0) > least[code]
            or self.lacking.get(code, 0) > max(self.read * _LACKING_AT_MOST, least[code])
        }

    def __str__(self) -> str:
        if self.failed:
            return self.failed
        rejected = ", ".join(f"{number:,} {code}" for code, number in self.rejected.items())
        dropped = f", {self.dropped:,} left out by their status" if self.dropped else ""
        return (
            f"{part(self.accepted, self.read, 'sale', 'is')} accepted{dropped}"
            + (f"; rejected: {rejected}" if rejected else "")
            + (f"; worth {self.worth}, {self.days}" if self.days else "")
        )


def drafted(arguments: Sequence[str]) -> str:
    """Draft a mapping from the files that SOURCE names.

    Returns:
        A mapping in YAML. What is not sure is left `{open: …}`, and such a mapping does not run.

    Raises:
        SourceError: A file cannot be read, none has rows, or several have no column in common.
    """
    files = find_sources(arguments, (*DATA_GLOBS, "*.json"))
    unread = [file for file in files if _is_document(file)]
    read = [file for file in files if file not in unread]
    return drafted_from(_samples(read or files), [_name(file) for file in unread if file.size])


def _is_document(file: SourceFile) -> bool:
    """Whether a file that was found and not named is one JSON document, which cannot be read."""
    if not file.found or not file.uri.lower().endswith(".json"):
        return False
    try:
        sniff(file, 1)
    except SourceError:
        return True
    return False


def drafted_from(found: Sequence[Sample], unread: Sequence[str] = ()) -> str:
    """Draft a mapping from samples, as `drafted`; files that cannot be read leave it open."""
    kinds, notes = kinds_of(found)
    kinds = unguarded(kinds)
    shapes = [replace(shape, notes=(*shape.notes, *notes)) for shape in shapes_of(kinds)]
    reading = _best(shapes, kinds)
    if unread:
        said = (
            f"what {', '.join(unread)} holds: JSON is read with one object a line, as `jq -c '.[]'` writes it"
        )
        key = reading.shape.key
        key = replace(key, doubt="; ".join(each for each in (said, key.doubt) if each))
        reading = replace(reading, shape=replace(reading.shape, key=key), proof="")
    return draft(reading)


def _best(shapes: Sequence[Shape], kinds: Sequence[Sample]) -> Reading:
    """The first reading that the sample agrees with; else the likeliest, with what is wrong left open."""
    tried: list[str] = []
    first: tuple[Reading, _Trial] | None = None
    for shape in shapes:
        key_is_wrong = False
        for reading in islice(readings_of(shape), _TRIALS):
            reading, trial = _improved(reading, kinds)
            if trial.read and not trial.faults and not trial.failed:
                return replace(reading, tried=tuple(tried), proof=f"Tried on the sample: {trial}.")
            if first is None or (first[0].doubts and not reading.doubts and first[0].shape is shape):
                first = reading, trial
            fields = {_FIELD.get(code) for code in trial.faults}
            key_is_wrong |= "external_id" in fields or bool(shape.key.doubt)
            if trial.read or trial.failed:
                tried.append(f"{_description(reading)}: {trial}")
            if len(tried) >= _TRIALS:
                break
        if not key_is_wrong or len(tried) >= _TRIALS:
            break
    assert first is not None  # every shape has a reading
    reading, trial = first
    return replace(reading, opened=_opened(trial), tried=tuple(tried))


def _description(reading: Reading) -> str:
    total = reading.money.total or reading.money.line or reading.money.price or "nothing"
    return f"key {', '.join(reading.shape.key.columns)} and total from {total}"


def _opened(trial: _Trial) -> dict[str, str]:
    """The fields to leave open, and what the trial has shown of each."""
    opened: dict[str, str] = {}
    for code, number in trial.faults.items():
        name = _FIELD.get(code) or trial.fields.get(code, "")
        name = name if name in _REQUIRED else "external_id"
        said = f"{part(number, trial.read, 'sale')} of the sample {agree(number, 'is')} rejected ({code})"
        opened.setdefault(name, said)
    if trial.failed:
        opened["total" if trial.failed.endswith("worth 0") else "external_id"] = trial.failed
    return opened


def _improved(reading: Reading, kinds: Sequence[Sample]) -> tuple[Reading, _Trial]:
    """A reading and its trial, without roles and checks that only cost sales."""
    trial = _tried(reading, kinds)
    warned = {
        code: f"{part(trial.rejected[code], trial.read, 'sale')} {said}"
        for code, said in _WARNED.items()
        if trial.rejected.get(code) and code not in trial.faults
    }
    if not reading.money.total:
        warned.pop("total_mismatch", None)
    if warned:
        reading = replace(reading, warned=warned)
        trial = _tried(reading, kinds)
    fields = {trial.fields.get(code) for code in trial.faults}
    fields |= {"payments"} & {code.split("_")[0] for code in trial.faults}
    spare = {
        role for name, role in _ROLE.items() if name in fields and (role in reading.sale or reading.paid)
    }
    if not spare:
        return reading, trial
    sale = {role: name for role, name in reading.sale.items() if role not in spare}
    paid = {} if "tender" in spare else reading.paid
    reading = replace(reading, sale=sale, paid=paid)
    return reading, _tried(reading, kinds)


def _tried(reading: Reading, kinds: Sequence[Sample]) -> _Trial:
    """Map and judge the sample with a reading's draft, as a run would."""
    if reading.doubts:
        return _Trial()
    text = draft(reading)
    if "{open:" in text:
        return _Trial()
    loaded = read_mapping(Path("draft.yaml"), text.encode())
    try:
        _, judged = judge_rows(loaded, _frames(loaded, reading.shape, kinds))
    except ImportToolError as error:
        return _Trial(failed=f"it cannot be computed: {error}".split("\n")[0])
    headers, verdict = judged.verdict.headers, judged.verdict
    outcomes = Counter(verdict.outcomes["outcome"].to_list())
    reasons = verdict.reasons.filter(pl.col("outcome") == "rejected").unique(
        [TX, "code"], maintain_order=True
    )
    rejected = Counter(reasons["code"].sort().to_list())  # ties by name, or drafts would differ
    is_blank = ~pl.col("value").str.contains(r"\d").fill_null(value=False)
    lacks = reasons.filter(pl.col("code").is_in(_LACKING) & is_blank)
    # What else is wrong with such a sale often follows from that.
    follows = reasons.filter(pl.col("code").is_in(_FOLLOWING) & is_blank)
    follows = follows.join(lacks.select(TX), on=TX, how="semi")
    lacking = pl.concat([lacks, follows]).unique([TX, "code"])["code"]
    fields = reasons.group_by("code").agg(pl.col("field").drop_nulls().mode().sort().first())
    accepted = verdict.transactions(ACCEPTED)
    if outcomes.get("dropped", 0) == headers.height > _FEW:
        return _Trial(failed=f"all of {count(headers.height, 'sale')} are left out, so none is imported")
    if accepted.height > _FEW and not accepted["total"].abs().sum():
        return _Trial(
            failed=f"all of {count(accepted.height, 'sale')} {agree(accepted.height, 'is')} worth 0"
        )
    days = accepted["transacted_at"].dt.strftime("%Y-%m-%d").sort().to_list()
    return _Trial(
        read=headers.height,
        accepted=outcomes.get(ACCEPTED, 0),
        dropped=outcomes.get("dropped", 0),
        rejected=dict(rejected.most_common()),
        lacking=Counter(lacking.to_list()),
        fields=dict(fields.drop_nulls().iter_rows()),
        worth=f"{accepted['total'].sum():,.2f}" if accepted.height else "",
        days=f"{days[0]} to {days[-1]}" if days else "",
    )


def _frames(loaded: LoadedMapping, shape: Shape, kinds: Sequence[Sample]) -> dict[str, pl.DataFrame]:
    """The sample's rows by table; of sales that were cut only those that are whole."""
    found: dict[str, pl.DataFrame] = {}
    for table, sample in shape.tables or ((LINES, shape.sample),):
        key = [name for name in loaded.spec.source.key_of(table) if name in sample.rows.columns]
        days = sample.rows.select(f"__{name}" for name in sample.days)
        rows = sample.cells.hstack(days).with_columns(
            pl.int_range(2, pl.len() + 2, dtype=pl.Int64).alias(LINE)
        )
        if sample.cut and key and table != "headers":
            # Blank keys of rows below belong to the row above.
            keys = rows.select(pl.col(key).str.strip_chars().replace("", None).forward_fill())
            rows = rows.filter(~keys.to_struct().is_in(keys[sample.at_edges].to_struct().implode()))
        found[table] = rows
    if any(sample.cut for _, sample in shape.tables):
        found = _whole(found, loaded)
    for table, sample in shape.tables or ((LINES, shape.sample),):
        found[table] = sample.as_stored(found[table])
    for name, lookup in loaded.spec.lookups.items():
        kind = next(kind for kind in kinds if lookup.file in kind.inputs)
        found[name] = kind.cells.rename(dict(kind.guarded)).with_columns(pl.lit(0, pl.Int64).alias(LINE))
    return found


def _whole(found: dict[str, pl.DataFrame], loaded: LoadedMapping) -> dict[str, pl.DataFrame]:
    """Only sales that all tables know, since their files are cut in different places."""
    source = loaded.spec.source
    (headers,), (items,) = source.key_of("headers"), source.key_of("items")
    both = set(found["headers"][headers].to_list()) & set(found["items"][items].to_list())
    keys = {table: source.key_of(table)[0] for table in found}
    return {table: rows.filter(pl.col(keys[table]).is_in([*both])) for table, rows in found.items()}


# ── Samples ─────────────────────────────────────────────────────────────────────────────────────────


def samples(arguments: Sequence[str]) -> list[Sample]:
    """Rows of files that SOURCE names: of many that are alike a few, over the whole of their names.

    Raises:
        SourceError: A file cannot be read.
    """
    return _samples(find_sources(arguments, DATA_GLOBS))


def _samples(files: Sequence[SourceFile]) -> list[Sample]:
    chosen = [*_chosen(files)]
    found: dict[str, Sample] = {}
    bytes_left, rows_left = _BYTES, _ROWS
    # What small files leave goes to the large ones.
    for number, file in enumerate(sorted(chosen, key=lambda file: file.size)):
        is_short = file.size <= bytes_left // (len(chosen) - number)
        rows = _ROWS_OF_SHORT if is_short else max(rows_left // (len(chosen) - number), _ROWS_LEAST)
        found[file.uri] = _sample(file, rows)
        bytes_left -= min(file.size, bytes_left // (len(chosen) - number))
        rows_left -= found[file.uri].rows.height * (not is_short)
    return [found[file.uri] for file in chosen]


def _chosen(files: Sequence[SourceFile]) -> Iterator[SourceFile]:
    alike: dict[str, list[SourceFile]] = {}
    for file in files:
        alike.setdefault(glob_of(_name(file)), []).append(file)
    each = max(1, min(_FILES_ALIKE, _FILES // len(alike))) if len(files) > _FILES else len(files)
    for group in islice(alike.values(), _FILES):
        places = sorted(
            {round(n * (len(group) - 1) / max(each - 1, 1)) for n in range(min(each, len(group)))}
        )
        yield from (group[place] for place in places)


def _name(file: SourceFile) -> str:
    return PurePosixPath(file.uri).name


def _likeness(sniffed: Sniffed) -> tuple[int, int]:
    """How much the rows of a sheet look like those of sales, and how many there are."""
    return likeness(sniffed.sample), sniffed.sample.height


def _sample(file: SourceFile, rows: int) -> Sample:
    sniffed = sniff(file, rows, spread=True)
    others = [sniff(file, rows, sheet=Worksheet(sheet=name)) for name in sniffed.other_sheets[:_SHEETS]]
    sniffed = max([sniffed, *others], key=_likeness) if others else sniffed
    found = sniffed.sample.select(name for name in sniffed.columns if name in sniffed.sample.columns)
    texts = [name for name, dtype in found.schema.items() if dtype == pl.String]
    edges = sniffed.edges
    if texts and len(texts) == found.width:
        blank = pl.all_horizontal(pl.col(texts).str.strip_chars().fill_null("") == "")
        again = pl.all_horizontal(pl.col(name).str.strip_chars().fill_null("") == name for name in texts)
        kept = found.select((~blank & ~again).alias("kept"))["kept"]
        edges = tuple(int(kept.head(edge).sum()) for edge in edges)
        found = found.filter(kept)
    nulls = null_words(found)
    if nulls:
        words = [pl.col(name).str.strip_chars() for name in texts]
        found = found.with_columns(
            pl.when(~word.is_in(nulls)).then(pl.col(name)).alias(name)
            for word, name in zip(words, texts, strict=True)
        )
    return Sample(
        _name(file),
        found,
        sniffed.format,
        sniffed.dialect,
        sniffed.encoding_confidence > _SURE,
        sheet=sniffed.sheet,
        nulls=tuple(nulls),
        edges=edges,
    )
