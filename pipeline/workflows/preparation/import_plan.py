"""Everything that is known before the first row is read: mapping and files, looked at together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import PurePosixPath
from typing import Final

from pipeline.core.errors import MappingError, Problem
from pipeline.core.events import Emit, Notice
from pipeline.core.memory import USUAL, Budget
from pipeline.core.storage.file_formats import COMPRESSED, FORMATS
from pipeline.core.text.wording import agree, count, first_of
from pipeline.extract.source_files import SourceFile, in_order_written
from pipeline.mapping.compile.check import check_mapping, compiled_and_checked, mapping_notices
from pipeline.mapping.compile.compiled_mapping import CompiledMapping
from pipeline.mapping.functions.rule_conditions import compile_rule
from pipeline.mapping.language.mapping_file import LoadedMapping
from pipeline.mapping.language.spec import Check, MappingSpec, Rule
from pipeline.mapping.usage.column_names import unmapped_columns
from pipeline.validation.control_totals import ControlTotals
from pipeline.validation.policy import OwnRule, Policy
from pipeline.workflows.preparation.sources import (
    Choose,
    RunSource,
    columns_by_table,
    find_run_sources,
    take_all,
)

_LARGER: Final = {
    **dict.fromkeys(COMPRESSED, 8),
    **{ending: form.larger for form in FORMATS.values() for ending in form.endings},
}
"""How many times as large as a file the text inside is assumed to be, by its ending."""

_SHOWN: Final = 80
_NOTICES: Final = 3
"""Notices about names that stand beside the problems of a mapping; they may be the reason."""


@dataclass(frozen=True)
class ImportPlan:
    """Everything that is known before the first row is read.

    Attributes:
        mapping: The mapping.
        compiled: The mapping over the source's columns.
        policy: How strictly transactions are judged.
        sources: The files with transactions.
        columns: The columns of each table, in order.
        lookups: The files of look-up tables among the sources.
        control: Control totals to compare with; None where there are none.
        started_at: When the run began; later is the future.
        budget: How much memory it may take.
    """

    mapping: LoadedMapping
    compiled: CompiledMapping
    policy: Policy
    sources: tuple[RunSource, ...]
    columns: Mapping[str, Sequence[str]]
    lookups: tuple[SourceFile, ...]
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
        return tuple(each.file.name for each in self.sources)

    @property
    def short_names(self) -> tuple[str, ...]:
        """Names for people, by SOURCE: without their directories where they differ without."""
        short = tuple(PurePosixPath(name).name for name in self.names)
        return short if len(set(short)) == len(short) else self.names

    # Kept, because every partition asks for it.
    @cached_property
    def written(self) -> dict[int, int]:
        """The place of each file, by SOURCE, in the order in which they were written."""
        places = in_order_written([each.file for each in self.sources])
        return {each.position: place for each, place in zip(self.sources, places, strict=True)}

    @property
    def unmapped(self) -> Mapping[str, Sequence[str]]:
        """By table, the columns that the mapping neither uses nor ignores."""
        return unmapped_columns(self.spec, self.columns)

    @property
    def partition_bytes(self) -> int:
        """Raw text of a partition; less where its rows become rows of other kinds beside them."""
        whole, source = self.budget.partition_bytes, self.spec.source
        return whole * 2 // 3 if source.nested or source.records else whole

    @property
    def input_bytes(self) -> int:
        """About how much text the files hold."""
        return sum(map(self.text_bytes, self.sources))

    def text_bytes(self, source: RunSource) -> int:
        """About how much text a file holds."""
        return source.file.size * _LARGER.get(PurePosixPath(source.file.uri.lower()).suffix, 1)


def plan_import(
    mapping: LoadedMapping,
    arguments: Sequence[str],
    emit: Emit,
    *,
    control: ControlTotals | None = None,
    choose: Choose = take_all,
    budget: Budget = USUAL,
) -> ImportPlan:
    """Look at mapping and files together, before anything is made.

    Args:
        mapping: The mapping.
        arguments: Files, globs or one directory.
        emit: Is given notices about mapping and files.
        control: Control totals to compare with.
        choose: Which of the files are read.
        budget: How much memory the run may take.

    Raises:
        NothingNew: None of the files was chosen.
        MappingError: The mapping does not work, or not with these columns; holds every problem.
        SourceError: A file cannot be used.
    """
    raise_problems(check_mapping(mapping))
    sources, lookups, beside = find_run_sources(mapping.spec, arguments, choose)
    sources, columns, notices = columns_by_table(sources, mapping.spec)
    compiled, problems = compiled_and_checked(mapping, columns, [file.uri for file in lookups])
    raise_problems(problems, hint=" ".join([_listed(columns), *notices[:_NOTICES]]))
    notices += [
        f"{each.file.name} takes some {each.held_bytes / 1e9:.1f} GB of memory, which is more than --memory"
        " leaves: a sheet is loaded as a whole; save it as CSV, which is read in parts"
        for each in sources
        if each.held_bytes > budget.free_bytes
    ]
    if beside:
        notices.append(
            f"{count(len(beside), 'file')} in {arguments[0]} {agree(len(beside), 'is')} not read, since no "
            f"`inputs` of the mapping match: {first_of([file.name for file in beside])}"
        )
    for notice in notices:
        emit(Notice("source", notice))
    for problem in mapping_notices(mapping, columns):
        emit(Notice("mapping", str(problem)))
    return ImportPlan(
        mapping=mapping,
        compiled=compiled,
        policy=policy_of(mapping.spec),
        sources=tuple(sources),
        columns=columns,
        lookups=tuple(lookups),
        control=control,
        started_at=datetime.now(UTC),
        budget=budget,
    )


def raise_problems(problems: Sequence[Problem], *, hint: str = "") -> None:
    """Raise the problems of a mapping, if there are any."""
    if problems:
        raise MappingError(problems, hint=hint)


def _listed(columns: Mapping[str, Sequence[str]]) -> str:
    """Which columns the source has. A long name is cut: in a file without a header it may be a whole row."""
    lists = {
        table: ", ".join(name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…" for name in names)
        for table, names in columns.items()
    }
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
