"""Texts from the data made safe to show: nothing invisible, nothing endless."""

from __future__ import annotations

from typing import Final

CELL_CHARACTERS: Final = 120


def visible(text: str, limit: int | None = CELL_CHARACTERS) -> str:
    r"""Return `text` with every unprintable character made visible, cut to `limit` characters.

    ASCII control characters become their symbols (`␛`, `␀`, `␊`), which no terminal obeys; other invisible
    ones, such as bidirectional overrides or no-break spaces, become escapes (`\u202e`, `\xa0`).
    """
    shown = text if limit is None or len(text) <= limit else text[: limit - 1] + "…"
    return shown if shown.isprintable() else "".join(map(_shown, shown))


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else character.encode("unicode_escape").decode("ascii")


def visible_lines(text: str) -> str:
    """As `visible`, of any length, with the line breaks kept: for messages that are several lines."""
    return "\n".join(visible(line, None) for line in text.split("\n"))
