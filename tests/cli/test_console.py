"""What people read on a terminal that is narrower than the text."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import termios
from collections.abc import Iterator
from typing import TextIO

import pytest

from pipeline.cli.console import wrapped

PATH = "/var/lib/omneo-import/runs/20240630T020000-1f2e/report.html"


@pytest.fixture
def narrow() -> Iterator[TextIO]:
    """A terminal of 40 columns."""
    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    with os.fdopen(there, "w") as stream:
        yield stream
    os.close(here)


def test_lines_break_between_words_and_go_on_further_in(narrow: TextIO) -> None:
    text = "  delivery      1,533 delivered, 0 unchanged, 0 refused, 5,753 pending\nshort"
    assert wrapped(text, narrow).split("\n") == [
        "  delivery      1,533 delivered, 0",
        "    unchanged, 0 refused, 5,753 pending",
        "short",
    ]


def test_a_path_stays_whole_so_that_it_can_be_copied(narrow: TextIO) -> None:
    assert PATH in wrapped(f"  report        {PATH}", narrow).split("\n")[-1]


@pytest.mark.parametrize("text", ["", "\n", "  \n    ", "x" * 200, " " * 200, "a\tb " * 30])
def test_no_word_is_lost(text: str, narrow: TextIO) -> None:
    assert wrapped(text, narrow).split() == text.split()


def test_programs_read_lines_as_they_are() -> None:
    line = "a sentence " * 40
    assert wrapped(line, io.StringIO()) == line
