"""Values as text for people: visible whatever they hold, short, with their units."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from pipeline.core.settings import is_loopback

CELL_CHARACTERS: Final = 120
_WORDS_SHARE: Final = 0.75
"""As much is shown at least, even if that cuts a word: a long id may have no blank at all."""


def visible(text: str, limit: int | None = CELL_CHARACTERS) -> str:
    r"""Return `text` with every unprintable character made visible, cut to `limit` characters.

    ASCII control characters become their symbols (`␛`, `␀`, `␊`), which no terminal obeys; other invisible
    ones, such as bidirectional overrides or no-break spaces, become escapes (`\u202e`, `\xa0`).
    """
    shown = text if limit is None or len(text) <= limit else f"{_cut(text, limit - 1)}…"
    return shown if shown.isprintable() else "".join(map(_shown, shown))


def _cut(text: str, limit: int) -> str:
    """The start of a text, to the end of a word where one is near."""
    before = text[: limit + 1].rpartition(" ")[0]
    return before if len(before) > _WORDS_SHARE * limit else text[:limit]


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x20:
        # The block of control pictures in Unicode has them in the same order.
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else character.encode("unicode_escape").decode("ascii")


_TENANT: Final = re.compile(r"https://api\.([\w-]+)\.getomneo\.com(?:/.*)?")


def tenant_name(base_url: str) -> str:
    """A tenant for people: `acme` for Omneo's own address of it, else the host."""
    if found := _TENANT.fullmatch(base_url):
        return found[1]
    host = urlsplit(base_url).netloc or base_url
    return f"a local Omneo for rehearsals ({host})" if is_rehearsal(base_url) else host


def is_rehearsal(base_url: str) -> bool:
    """Whether an address is that of an Omneo on this machine, which is never the real one."""
    return is_loopback(urlsplit(base_url).hostname or "")


def grouped(amount: str) -> str:
    """A decimal string with commas between the thousands: `-1234.50` becomes `-1,234.50`."""
    whole, point, places = amount.lstrip("-").partition(".")
    return f"{'-' if amount.startswith('-') else ''}{int(whole):,}{point}{places}"


def share(part: int, whole: int) -> str:
    """A share that never rounds something to nothing or nearly all to all: `98.7%`, `<0.1%`, `>99.9%`."""
    if not whole or part in (0, whole):
        return "100%" if part and part == whole else "0%"
    percent = 100 * part / whole
    if percent < 0.1:
        return "<0.1%"
    return ">99.9%" if percent > 99.9 else f"{percent:.1f}%"


def size(number: int) -> str:
    """Bytes for people, in powers of ten: `310 bytes`, `41.2 MB`."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if number >= unit:
            return f"{number / unit:.1f} {name}"
    return f"{number} bytes"


def short_number(number: int) -> str:
    """A round number in few characters: `500`, `2.5k`, `10M`."""
    for unit, letter in ((10**6, "M"), (10**3, "k")):
        if abs(number) >= unit:
            return f"{number / unit:g}{letter}".replace("-", "−")
    return str(number).replace("-", "−")


def compact(number: int) -> str:
    """A number in at most four characters: `512`, `1.2k`, `340k`, `5.0M`."""
    for unit, letter in ((10**6, "M"), (10**3, "k")):
        if number >= unit:
            return f"{number / unit:.1f}{letter}" if number < 10 * unit else f"{number // unit}{letter}"
    return str(number)


def duration(seconds: float) -> str:
    """Seconds for people: `0.4 s`, `12 s`, `3 min 20 s`, `5 h 12 min`, `3 d 4 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, name, smaller, smaller_name in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= unit:
            rest = whole % unit // smaller
            return f"{whole // unit} {name} {rest} {smaller_name}" if rest else f"{whole // unit} {name}"
    return f"{whole} s"
