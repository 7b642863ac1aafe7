"""Texts from a source that people open in a spreadsheet or see on a terminal."""

from __future__ import annotations

from typing import Final

import polars as pl

# What spreadsheets take for the start of a formula, also in the wide forms of East Asian keyboards.
_DANGEROUS: Final = r"^('*[=+\-@\t\r\n\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}])"
_CONTROLS: Final = {
    **{chr(n): chr(0x2400 + n) for n in range(32) if n not in (9, 10, 13)},
    "\x7f": "␡",
    **{chr(n): f"\\x{n:02x}" for n in range(0x80, 0xA0)},
    **{chr(n): f"\\u{n:04x}" for n in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))},
}
"""Characters that control a terminal, or that reverse the direction of a text, and what replaces them."""


def neutral(text: pl.Expr) -> pl.Expr:
    r"""Make texts safe to open in a spreadsheet or show on a terminal.

    An apostrophe goes before a leading `=`, `+`, `-`, `@` (also in their wide forms), tab or line break,
    with or without apostrophes of its own before it; taking one apostrophe off such a text gives it back.
    Other control characters become their pictures, such as `␛`, or escapes, such as `\\x9b`.
    """
    return text.str.replace(_DANGEROUS, "'${1}").str.replace_many(_CONTROLS)
