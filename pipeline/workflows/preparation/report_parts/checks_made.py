"""Which checks a run makes, and why it leaves one out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final

from pipeline.core.codes import CODES
from pipeline.mapping.language.spec import MappingSpec
from pipeline.report.data import CheckMade
from pipeline.workflows.preparation.import_plan import ImportPlan

_Has = Callable[[MappingSpec], object]


def _has_state(spec: MappingSpec, state: str) -> bool:
    """Whether the mapping says which sales are in a state that drops them."""
    return spec.completion is not None and getattr(spec.completion, state) != ()


def _has_paid(spec: MappingSpec) -> bool:
    return spec.completion is not None and spec.completion.paid is not None


_GIVES: Final[Mapping[str, _Has]] = {
    "which sales are drafts": partial(_has_state, state="draft"),
    "which sales are cancelled": partial(_has_state, state="cancelled"),
    "which sales are open orders": partial(_has_state, state="order_open"),
    "what was paid": lambda spec: _has_paid(spec) or _has_state(spec, "partially_paid"),
    "how much was paid": _has_paid,
    "amounts of payments": lambda spec: any(each.amount is not None for each in spec.payments),
    "customers": lambda spec: spec.profile,
    "a currency": lambda spec: "currency" in spec.transaction,
    "look-up tables": lambda spec: spec.lookups,
    "items": lambda spec: spec.items,
}
"""Whether a mapping gives what a check needs, by the words of `Code.needs`."""


def checks_made(plan: ImportPlan) -> tuple[CheckMade, ...]:
    """Every check, in the order of `CODES`, then the rules of the mapping."""
    return (*_of_codes(plan), *_of_rules(plan))


def _of_codes(plan: ImportPlan) -> Iterator[CheckMade]:
    for code in CODES.values():
        severity = plan.policy.severity(code.name)
        if severity == "off":
            yield CheckMade(code.name, code.title, severity, skipped="the mapping turns it off")
        elif code.needs and not _GIVES[code.needs](plan.spec):
            yield CheckMade(
                code.name, code.title, severity, skipped=f"the mapping does not give {code.needs}"
            )
        else:
            yield CheckMade(code.name, code.title, severity)


def _of_rules(plan: ImportPlan) -> Iterator[CheckMade]:
    for rule in plan.policy.rules:
        severity = plan.policy.severity(rule.code)
        yield CheckMade(
            rule.code, rule.message, severity, skipped="the mapping turns it off" if severity == "off" else ""
        )
