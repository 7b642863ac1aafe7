"""The policy of a mapping: what each code does, how far amounts may be apart, and rules of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal, TypeAlias

import polars as pl

from pipeline.core.codes import CODES, Outcome
from pipeline.core.errors import CannotStart

Severity: TypeAlias = Literal["drop", "reject", "warn", "off"]

_USUAL: Final[dict[Outcome, Severity]] = {
    Outcome.DROPPED: "drop",
    Outcome.REJECTED: "reject",
    Outcome.WARNING: "warn",
}


@dataclass(frozen=True)
class OwnRule:
    """A check of the mapping's own.

    Attributes:
        code: Its name, not one of the built-in codes.
        when: A condition over the transaction's mapped fields; where it holds, the code is given.
        message: For people.
        severity: `reject` or `warn`.
        first: Columns that the condition uses; they are added first, one after the other.
    """

    code: str
    when: pl.Expr
    message: str
    severity: Severity = "reject"
    first: tuple[pl.Expr, ...] = ()


# Compared by identity: each run makes one policy, which caches use as a key.
@dataclass(frozen=True, eq=False)
class Policy:
    """What each code does. A code that is not named does what `pipeline.core.codes.CODES` says.

    A dropping code that is set to `reject`, `warn` or `off` no longer drops: the transaction is then checked
    like any other. An optional value that is invalid and only warned about is left out of the payload.

    Attributes:
        severities: By code.
        tolerances: By code, in the transaction's currency.
        rules: Checks of the mapping's own.

    Raises:
        CannotStart: A code that always rejects is set to anything else, or a code about the run to `reject`.
    """

    severities: Mapping[str, Severity] = field(default_factory=dict)
    tolerances: Mapping[str, Decimal] = field(default_factory=dict)
    rules: tuple[OwnRule, ...] = ()

    def __post_init__(self) -> None:
        for name, severity in sorted(self.severities.items()):
            code = CODES.get(name)
            if code and code.always and severity != "reject":
                raise CannotStart(
                    f"checks: {name} cannot be '{severity}': such a transaction cannot be sent to Omneo.",
                    hint="Leave the code out of `checks`; or give the field a fall-back with `first_of`.",
                )
            if code and code.instead_of_reject and severity == "reject":
                raise CannotStart(
                    f"checks: {name} cannot be 'reject': it is about the run, not about a transaction.",
                    hint=code.instead_of_reject,
                )

    def severity(self, code: str) -> Severity:
        """What `code` does; an unknown code rejects."""
        if code in self.severities:
            return self.severities[code]
        if code in CODES:
            return _USUAL[CODES[code].outcome]
        return next((rule.severity for rule in self.rules if rule.code == code), "reject")

    def tolerance(self, code: str) -> Decimal:
        """How far apart the two amounts that `code` compares may be, this difference included."""
        return self.tolerances.get(code, CODES[code].tolerance or Decimal(0))
