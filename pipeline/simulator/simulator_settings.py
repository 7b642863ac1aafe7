"""The settings of the local Omneo at its start, and the faults, which can be changed while it runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import Field, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid5

from pipeline.core.errors import SettingsError, did_you_mean

API_PATH: Final = "/api/v3"
CURRENCIES: Final = (
    *("AUD", "NZD", "USD", "GBP", "EUR", "CAD", "BRL", "SGD", "HKD", "JPY", "CHF", "SEK", "NOK", "DKK"),
    *("ZAR", "INR", "AED", "MYR", "THB", "MXN"),
)

_LOOPBACK: Final = {"127.0.0.1": "127.0.0.1", "localhost": "127.0.0.1", "::1": "::1"}


def _fault(default: float, help_text: str, *, least: float = 0, most: float = float("inf")) -> Any:
    """A field with its range and the sentence that `--help` shows."""
    return field(default=default, metadata={"help": help_text, "least": least, "most": most})


def _choice(default: str, choices: tuple[str, ...], help_text: str) -> Any:
    """A field with its choices and the sentence that `--help` shows; no choices stand for any text."""
    return field(default=default, metadata={"help": help_text, "choices": choices})


@dataclass(frozen=True)
class Faults:
    """Faults and deviations of the simulator. Times are in seconds, shares from 0 to 1.

    The four faults of an answer (error, reset before, reset after, slow) exclude each other: their shares
    add up to at most 1. They are drawn from the settings' seed. Refusals and lost jobs are instead decided
    by the transaction's `external_id` and the seed, whatever the order of arrival: the same ones are refused
    every time, and the same ones are lost, but only once each, so that sending them again helps.

    Raises:
        SettingsError: A value is out of its range.
    """

    latency_s: float = _fault(0.0, "Least time that an answer takes.")
    jitter_s: float = _fault(0.0, "Up to this much is added to the latency, evenly distributed.")
    error_share: float = _fault(0.0, "Share of requests answered with `error_status`, nothing taken.", most=1)
    error_status: int = _fault(500, "Status of those answers.", least=400, most=599)
    reset_before_share: float = _fault(0.0, "Share of connections reset before anything is taken.", most=1)
    reset_after_share: float = _fault(
        0.0, "Share of connections reset after the request was carried out.", most=1
    )
    slow_share: float = _fault(
        0.0, "Share of answers held back for `slow_s`; the request is carried out.", most=1
    )
    slow_s: float = _fault(30.0, "How long slow answers are held back.")
    outage: bool = _fault(False, "The API is down, from now on.")
    outage_after_s: float = _fault(0.0, "Time from setting the faults to the start of an outage.")
    outage_for_s: float = _fault(0.0, "Length of that outage; 0 for none.")
    outage_status: int = _fault(503, "Status during an outage; 0 drops connections instead.", most=599)
    refused_share: float = _fault(0.0, "Share of external ids refused with 422.", most=1)
    lost_share: float = _fault(0.0, "Share of external ids whose queued jobs vanish after the 200.", most=1)
    job_delay_s: float = _fault(0.1, "Time from accepting a queued transaction to processing it.")
    job_jitter_s: float = _fault(0.0, "Up to this much is added to that delay, which also changes the order.")
    throttle_requests: int = _fault(1_000_000, "Requests a token may make in a window; 0 for no throttle.")
    throttle_window_s: float = _fault(60.0, "Length of the throttle's window.", least=0.001)
    retry_after_date: bool = _fault(False, "`Retry-After` is a date instead of seconds.")
    doubled_share: float = _fault(0.0, "Share of external ids whose queued jobs are processed twice.", most=1)
    unkept_fields: str = _choice(
        "",
        (),
        "Fields that are accepted and not kept, separated by commas, such as `order_number,items.meta`.",
    )
    keeps_items: bool = _fault(False, "`delete_existing_items` is ignored: items that an update lacks stay.")
    list_ids: str = _choice(
        "one",
        ("many", "one", "none"),
        "How many ids `filter[external_id]` of the list takes: many (with commas), one, or none (ignored).",
    )
    list_without_items: bool = _fault(False, "Transactions in the list have no items.")
    list_page_most: int = _fault(500, "The most rows in a page of any list, whatever was requested.", least=1)
    aggregations_every_s: float = _fault(
        0.0,
        "Time between calculations of customers' figures; null before the first. 0: always current.",
    )
    triggers_status: int = _fault(0, "`GET /triggers` answers with this status; 0 for the list.", most=599)
    webhook_delay_s: float = _fault(0.0, "Delay of webhooks.")
    webhook_twice_share: float = _fault(0.0, "Share of webhooks sent twice.", most=1)
    webhook_never_share: float = _fault(0.0, "Share of webhooks never sent.", most=1)

    def __post_init__(self) -> None:
        for each in fields(self):
            _check_value(each, getattr(self, each.name))
        drawn = self.error_share + self.reset_before_share + self.reset_after_share + self.slow_share
        if drawn > 1:
            raise SettingsError(
                f"The shares of errors, resets and slow answers add up to {drawn:g}, above 1."
            )
        if self.webhook_twice_share + self.webhook_never_share > 1:
            raise SettingsError("webhook_twice_share and webhook_never_share add up to more than 1.")

    def changed(self, values: Mapping[str, Any]) -> Faults:
        """These faults with some values replaced.

        Raises:
            SettingsError: There is no fault of that name, or a value is out of its range.
        """
        known = [each.name for each in fields(self)]
        for name in values:
            if name not in known:
                raise SettingsError(f"There is no fault {name!r}{did_you_mean(name, known)}.")
        return replace(self, **values)

    def as_dict(self) -> dict[str, float | str]:
        """Names and values, for JSON."""
        return asdict(self)


def _check_value(fault: Field[Any], value: object) -> None:
    kind = type(fault.default)
    if kind is str:
        choices = fault.metadata["choices"]
        if not isinstance(value, str) or (choices and value not in choices):
            raise SettingsError(f"{fault.name} = {value!r} is not {' or '.join(choices) or 'a text'}.")
        return
    least, most = fault.metadata["least"], fault.metadata["most"]
    if isinstance(value, bool) is not (kind is bool) or not isinstance(value, kind | int):
        raise SettingsError(f"{fault.name} = {value!r} is not of the kind {kind.__name__}.")
    if not least <= value <= most:
        raise SettingsError(f"{fault.name} = {value!r} is out of its range, {least:g} to {most:g}.")


@dataclass(frozen=True)
class Profile:
    """A customer that the simulated tenant knows.

    Attributes:
        email: Found by it, letter case ignored.
        identities: Handle to identifier, such as `{"shopify": "42"}`.
        first_name: Shown in answers.
        last_name: Shown in answers.
        id: UUID; made from email and identities where left out, so that it is the same next time.
    """

    email: str | None = None
    identities: Mapping[str, str] = field(default_factory=dict)
    first_name: str = ""
    last_name: str = ""
    id: str = ""

    def __post_init__(self) -> None:
        if not self.id:
            name = json.dumps([self.email, sorted(self.identities.items())])
            object.__setattr__(self, "id", str(uuid5(NAMESPACE_URL, name)))


@dataclass(frozen=True)
class Location:
    """A store that the simulated tenant knows; its name is its `external_id` where it is left out."""

    external_id: str
    name: str = ""
    timezone: str | None = None

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.external_id)


@dataclass(frozen=True)
class Reaction:
    """A trigger, which an event sets off, or an automation, which a schedule does.

    Attributes:
        name: What people call it.
        trigger: The event, such as `transaction.created`, or the schedule.
        actions: Each with at least `uuid`, the action's type, such as `target.send`, and maybe a `name`.
        is_active: Whether it runs at all.
        description: For people.
        notes: For people.
    """

    name: str
    trigger: str
    actions: Sequence[Mapping[str, Any]] = ()
    is_active: bool = True
    description: str = ""
    notes: str = ""


EXAMPLE_TRIGGERS: Final = (
    Reaction("Send receipt mail", "transaction.created", ({"uuid": "target.send", "name": "Receipt"},)),
    Reaction("Points for every sale", "transaction.created", ({"uuid": "points.award", "name": "Points"},)),
    Reaction("Old campaign", "transaction.created", ({"uuid": "reward.create"},), is_active=False),
    Reaction("Welcome", "profile.created", ({"uuid": "target.send", "name": "Welcome mail"},)),
)
"""For rehearsals: two of them run for a transaction that is imported."""


@dataclass(frozen=True)
class SimulatorSettings:
    """The settings of the local Omneo.

    Attributes:
        token: The bearer token that may do everything.
        forbidden_token: A token that is known but may do nothing: 403.
        db: SQLite file that keeps the state between runs; None keeps it in memory. Commits are grouped, so
            a kill or a power cut may cost it the last moments.
        seed: Seed of the draws that decide faults.
        currencies: Codes configured in the tenant, the first one the system's own; others are refused.
        locations: Stores known from the start.
        profiles: Customers known from the start.
        triggers: What events set off; none by default.
        automations: What schedules set off.
        create_existing: What a create does with an `external_id` that exists: `copy` adds a second
            transaction, `refuse` answers 422. The API's pages leave it open; `copy` is the harsher one.
        unknown_profiles: What becomes of a transaction of an unknown customer: `guest` makes it a guest
            sale, `enrol` makes the customer known, as in a tenant that has all of them.
        batch_checks: `whole` refuses a batch for one bad transaction, `item` fails only that one.
        batch_limit: Most transactions in a batch; the tracking calls are documented for 1 to 500.
        max_body_bytes: A larger body is answered 413.
        webhook_url: Where webhooks go, a loopback address; None sends none.
        webhook_secret: Shared secret of their signature.
        faults: How it behaves at first.

    Raises:
        SettingsError: A value cannot be used.
    """

    token: str = field(default="simulator-token", repr=False)
    forbidden_token: str = field(default="token-without-rights", repr=False)
    db: Path | None = None
    seed: int = 0
    currencies: tuple[str, ...] = CURRENCIES
    locations: tuple[Location, ...] = ()
    profiles: tuple[Profile, ...] = ()
    triggers: tuple[Reaction, ...] = ()
    automations: tuple[Reaction, ...] = ()
    create_existing: str = "copy"
    unknown_profiles: str = "guest"
    batch_checks: str = "whole"
    batch_limit: int = 500
    max_body_bytes: int = 8 * 1024 * 1024
    webhook_url: str | None = None
    webhook_secret: str = field(default="simulator-secret", repr=False)
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        _check_choice("create_existing", self.create_existing, ("copy", "refuse"))
        _check_choice("unknown_profiles", self.unknown_profiles, ("guest", "enrol"))
        _check_choice("batch_checks", self.batch_checks, ("whole", "item"))
        if self.webhook_url is not None:
            require_loopback(
                urlsplit(self.webhook_url).hostname or "", f"The webhook URL {self.webhook_url!r}"
            )


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingsError(f"{name} = {value!r}: {' or '.join(choices)} was expected.")


def require_loopback(host: str, what: str) -> str:
    """Return the loopback address that `host` means: `127.0.0.1`, `::1`, or `localhost` for the former.

    Raises:
        SettingsError: `host` is another machine, or this one as others see it.
    """
    if host not in _LOOPBACK:
        raise SettingsError(
            f"{what} is not on this machine's loopback, the only place the simulator uses.",
            hint="It has no TLS and a known token; use 127.0.0.1, ::1 or localhost.",
        )
    return _LOOPBACK[host]


def read_seed_file(path: Path) -> dict[str, Any]:
    """Read what the tenant knows from a JSON file, as keyword arguments for `SimulatorSettings`.

    The file is an object with any of `profiles` (objects with `email`, `identities`, `first_name`,
    `last_name`, `id`), `locations` (objects with `external_id`, `name`, `timezone`), `currencies` (codes),
    and `triggers` and `automations` (objects with `name`, `trigger`, `actions`, `is_active`).

    Raises:
        SettingsError: The file cannot be read or has another form.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return {name: tuple(_seeds(name, rows)) for name, rows in data.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise SettingsError(
            f"The seed file {path} cannot be used: {error}.",
            hint=f"A JSON object with lists was expected, each of them one of {', '.join(_SEEDS)}.",
        ) from None


def _seeds(name: str, rows: object) -> Iterator[Profile | Location | Reaction | str]:
    if name not in _SEEDS:
        raise ValueError(f"it has {name!r}{did_you_mean(name, list(_SEEDS))}")
    if not isinstance(rows, list):
        raise TypeError(f"{name} is no list")
    for row in rows:
        if not isinstance(row, str if name == "currencies" else dict):
            raise TypeError(f"{name} holds {row!r}")
        yield _SEEDS[name](row)


_SEEDS: Final[dict[str, Callable[[Any], Profile | Location | Reaction | str]]] = {
    "profiles": lambda row: Profile(**row),
    "locations": lambda row: Location(**row),
    "currencies": str,
    "triggers": lambda row: Reaction(**row),
    "automations": lambda row: Reaction(**row),
}
