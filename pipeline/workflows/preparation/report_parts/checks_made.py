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


def _has_currency(spec: MappingSpec) -> bool:
    return "currency" in spec.transaction


def _has_items(spec: MappingSpec) -> bool:
    return bool(spec.items)


def _has_amounts(spec: MappingSpec) -> bool:
    return any(each.amount is not None for each in spec.payments)


_NEEDS: Final[Mapping[str, tuple[str, _Has]]] = {
    "draft": ("which sales are drafts", partial(_has_state, state="draft")),
    "cancelled": ("which sales are cancelled", partial(_has_state, state="cancelled")),
    "order_open": ("which sales are open orders", partial(_has_state, state="order_open")),
    "partially_paid": (
        "what was paid",
        lambda spec: _has_paid(spec) or _has_state(spec, "partially_paid"),
    ),
    "paid_missing": ("what was paid", _has_paid),
    "payments_mismatch": ("amounts of payments", _has_amounts),
    **dict.fromkeys(("profile_invalid", "profile_placeholder"), ("customers", lambda spec: spec.profile)),
    "currency_invalid": ("a currency", _has_currency),
    "currency_missing": ("a currency", _has_currency),
    "amount_finer_than_currency": ("a currency", _has_currency),
    "lookup_missing": ("look-up tables", lambda spec: spec.lookups),
    **dict.fromkeys(
        (
            *("total_mismatch", "items_missing", "orphan_item", "quantity_invalid", "price_invalid"),
            *("name_missing", "item_external_id_conflict", "item_external_id_repeated"),
        ),
        ("items", _has_items),
    ),
}
"""What a mapping must give for a check, in words and as a condition; the others are always made."""


def checks_made(plan: ImportPlan) -> tuple[CheckMade, ...]:
    """Every check, in the order of `CODES`, then the rules of the mapping."""
    return (*_of_codes(plan), *_of_rules(plan))


def _of_codes(plan: ImportPlan) -> Iterator[CheckMade]:
    for code in CODES.values():
        severity = plan.policy.severity(code.name)
        words, has = _NEEDS.get(code.name, ("", lambda _: True))
        if severity == "off":
            yield CheckMade(code.name, code.title, severity, skipped="the mapping turns it off")
        elif not has(plan.spec):
            yield CheckMade(code.name, code.title, severity, skipped=f"the mapping does not give {words}")
        else:
            yield CheckMade(code.name, code.title, severity)


def _of_rules(plan: ImportPlan) -> Iterator[CheckMade]:
    for rule in plan.policy.rules:
        severity = plan.policy.severity(rule.code)
        yield CheckMade(
            rule.code, rule.message, severity, skipped="the mapping turns it off" if severity == "off" else ""
        )
