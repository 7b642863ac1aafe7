"""IANA's names of time zones, as the system's zone data has them."""

from __future__ import annotations

from functools import cache
from zoneinfo import available_timezones


# Kept, because it looks at every file of the zone data.
@cache
def iana_zones() -> frozenset[str]:
    """All names, links and `Etc` included."""
    return frozenset(available_timezones())
