"""How many examples a property tries: few in every run of the tests, ten times as many in `make fuzz`."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings

TESTS, FUZZ = "tests", "fuzz"


def register_profiles() -> None:
    """Register both profiles with Hypothesis and load that of the tests; `--hypothesis-profile` changes it.

    Neither limits the time of an example: a slow machine is no fault, and each test has its own limit. The
    tests try the same examples every time, so that a commit passes or fails whoever runs it; new ones are
    looked for by `make fuzz`, which keeps what fails in `.hypothesis` and prints how to repeat it.
    """
    common: dict[str, Any] = {
        "deadline": None,
        "print_blob": True,
        "suppress_health_check": [HealthCheck.too_slow],
    }
    settings.register_profile(TESTS, derandomize=True, database=None, **common)
    settings.register_profile(FUZZ, max_examples=times(100, FUZZ), **common)
    settings.load_profile(TESTS)


def times(count: int, profile: str | None = None, fuzz: int = 10) -> int:
    """This many in the tests, ten times as many (or `fuzz` times) in `make fuzz`."""
    return count * fuzz if (profile or settings.get_current_profile_name()) == FUZZ else count


def examples(count: int, fuzz: int = 10, **more: Any) -> settings:
    """Settings of a property whose number of examples is not Hypothesis's own 100."""
    return settings(max_examples=times(count, fuzz=fuzz), **more)
