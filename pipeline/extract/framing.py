"""Where records begin and end in CSV text, so that it can be parsed block by block with line numbers.

A *record* is a row of cells; it spans several physical lines where a quoted cell holds line breaks.
A physical line ends with LF, CRLF or a lone CR. The grammar is that of RFC 4180, with two decisions that it
leaves open: a quote inside an unquoted cell is text (`5" pipe`), and text after a closing quote, or a quote
that is never closed, makes the record *broken*. Only the first physical line of a broken record is lost;
reading goes on with the next one, so a missing quote cannot swallow a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

LF, CR = 10, 13
_END: Final = rb"(?:\r\n|\n|\r)"
_BROKEN: Final = re.compile(rb"(?P<broken>[^\r\n]*%s?)" % _END)
MAX_RECORD_BYTES: Final = 16 << 20
"""A quoted cell that is not closed within so many bytes counts as never closed, since memory holds it."""

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Broken:
    """A physical line that is not a record.

    Attributes:
        line: Physical lines before it in its block.
        raw: Its text without the line break.
        message: What is wrong with it.
    """

    line: int
    raw: bytes
    message: str


@dataclass(frozen=True)
class Framed:
    """The whole records at the start of a block.

    Attributes:
        text: The records, without broken lines and comments; blank lines may be left in.
        starts: For each record that is not blank, where in `text` it starts.
        lines: For each of these, the physical lines before it in the block.
        used: Bytes of the block that are covered; the rest begins a record.
        used_lines: Physical lines in these bytes.
        broken: Broken lines, in order.
        is_ended: Whether the last line of the block has its line break; False only at the end of a file.
    """

    text: bytes | memoryview
    starts: Positions
    lines: Positions
    used: int
    used_lines: int
    broken: list[Broken] = field(default_factory=list)
    is_ended: bool = True


class Frame(Protocol):
    """Finds the whole records at the start of a block; see `Grammar.frame`."""

    def __call__(self, data: bytes, *, final: bool) -> Framed:
        """Find them."""
        ...


def frames(blocks: Iterable[bytes], frame: Frame) -> Iterator[Framed]:
    """Find the records of a text that comes in blocks; the same ones however it is cut into these."""
    carry, least = b"", 0
    for block in blocks:
        carry += block
        if len(carry) < least:
            continue
        framed = frame(carry, final=False)
        # A record that goes on is looked at again once the text has doubled: after each block would take
        # ages.
        least = 0 if framed.used else min(2 * len(carry), MAX_RECORD_BYTES + 1)
        carry = carry[framed.used :]
        yield framed
    if carry:
        is_ended = carry.endswith((b"\r", b"\n"))
        framed = frame(carry if is_ended else carry + b"\n", final=True)
        yield replace(framed, is_ended=is_ended)


@dataclass(frozen=True)
class Grammar:
    """How records are written.

    Attributes:
        delimiter: One character between cells.
        quote: The quoting character, or None.
        escape: The escaping character, or None.
        comment: What a line starts with that is a comment, or None.
    """

    delimiter: str
    quote: str | None = '"'
    escape: str | None = None
    comment: str | None = None

    @cached_property
    def _token(self) -> re.Pattern[bytes]:
        """What can stand where a record begins: a blank line, a comment, a record, or else a broken line."""
        cell = rb"(?:%s|%s)" % (self._quoted_cell(rb"(?=[%s\r\n])"), self._bare_cell())
        record = rb"%s(?:%s%s)*%s" % (cell, self._delimiter, cell, _END)
        # The order matters: the pattern of a record also fits a blank line and a comment.
        kinds = [rb"(?P<blank>%s)" % _END, rb"(?P<record>%s)" % record, _BROKEN.pattern]
        if self.comment:
            kinds.insert(1, rb"(?P<comment>%s[^\r\n]*%s)" % (re.escape(self.comment.encode()), _END))
        return re.compile(b"|".join(kinds), re.DOTALL)

    @cached_property
    def _cut_record(self) -> re.Pattern[bytes]:
        """A record that is cut off."""
        cell = rb"(?:%s|%s)" % (self._quoted_cell(rb"(?=%s)"), self._bare_cell())
        last = rb"(?:%s|%s)" % (self._quoted_cell(rb"?"), self._bare_cell())
        return re.compile(
            rb"(?:%s%s)*%s%s?\Z" % (cell, self._delimiter, last, self._escape or rb"\r"), re.DOTALL
        )

    @property
    def _delimiter(self) -> bytes:
        return re.escape(self.delimiter.encode())

    @property
    def _escape(self) -> bytes:
        return re.escape(self.escape.encode()) if self.escape else b""

    def _quoted_cell(self, after: bytes) -> bytes:
        if not self.quote:
            return rb"(?!)"
        quote = re.escape(self.quote.encode())
        special = rb"%s%s" % (quote, quote) + (rb"|%s." % self._escape if self.escape else b"")
        text = rb"[^%s%s]*" % (quote, self._escape)
        after = after % self._delimiter if b"%s" in after else after
        return rb"%s%s(?:(?:%s)%s)*%s%s" % (quote, text, special, text, quote, after)

    def _bare_cell(self) -> bytes:
        text = rb"[^%s\r\n%s]*" % (self._delimiter, self._escape)
        not_quoted = rb"(?!%s)" % re.escape(self.quote.encode()) if self.quote else b""
        escaped = rb"(?:%s.%s)*" % (self._escape, text) if self.escape else b""
        return not_quoted + text + escaped

    def first_record(self, data: bytes) -> tuple[int, int] | None:
        """Where the first record of `data`, which ends with a line break, starts and ends.

        Returns:
            Its byte positions; None if there is none, or a broken line comes first. A line of blanks does
            not count as a record here.
        """
        for match in self._token.finditer(data):
            if match.lastgroup == "record" and match.group().strip():
                return match.span()
            if match.lastgroup == "broken":
                return None
        return None

    def spans(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Yield where each record of `data` starts and ends; everything else is passed over."""
        for match in self._token.finditer(data):
            if match.lastgroup == "record":
                yield match.span()

    def frame(self, data: bytes, *, final: bool) -> Framed:
        """Find the whole records at the start of `data`, which begins with one.

        Args:
            data: UTF-8. Where `final`, it ends with a line break.
            final: Whether nothing follows: what is not a whole record then is broken.
        """
        if not final and data.endswith(b"\r"):
            # A CR at the end of a block may be half of a CRLF.
            data = data[:-1]
        return self._frame_regular(data, final=final) or self._frame_tolerant(data, final=final)

    def _frame_regular(self, data: bytes, *, final: bool) -> Framed | None:
        """The fast way, by counting quotes; None if that does not show where records end."""
        # Escapes and comments need a look at each record; without them it is enough to count quotes.
        special = (self.escape, self.comment)
        if any(mark and mark.encode() in data for mark in special):
            return None
        ends = line_ends(data)
        quotes = self._enclosing_quotes(data)
        if quotes is None:
            return None
        outside = np.flatnonzero(np.searchsorted(quotes, ends) % 2 == 0) if len(quotes) else None
        record_ends = ends if outside is None else ends[outside]
        # An open quote at the end of the file leaves a rest, which only the slow way can judge.
        if not len(record_ends) or (final and record_ends[-1] != len(data) - 1):
            return None
        if len(data) > MAX_RECORD_BYTES and np.diff(record_ends, prepend=-1).max() > MAX_RECORD_BYTES:
            return None
        used = int(record_ends[-1]) + 1
        starts = np.concatenate(([0], record_ends[:-1] + 1))
        lines = np.arange(len(starts)) if outside is None else np.concatenate(([0], outside[:-1] + 1))
        first = np.frombuffer(data, np.uint8)[starts]
        whole = (first != LF) & (first != CR)
        if not whole.all():
            starts, lines = starts[whole], lines[whole]
        used_lines = int(np.searchsorted(ends, used))
        return Framed(memoryview(data)[:used], starts, lines, used=used, used_lines=used_lines)

    def _enclosing_quotes(self, data: bytes) -> Positions | None:
        """Positions of quotes such that an odd number of them before a place means it is inside a cell.

        Where all quotes are regular these are all of them: each at an even place then opens a cell or
        continues a doubled quote, each at an odd place closes a cell or begins a doubled one; by induction
        it is enough to look at the byte beside each. Otherwise those that are text are left out, one by
        one. None where a closing quote is followed by text.
        """
        if not self.quote:
            return np.empty(0, np.int64)
        bytes_ = np.frombuffer(data, np.uint8)
        quotes = np.flatnonzero(bytes_ == ord(self.quote))
        beside = np.zeros(256, bool)
        beside[[ord(self.quote), ord(self.delimiter), LF, CR]] = True
        opening, closing = quotes[0::2], quotes[1::2]
        before = bytes_[opening[opening > 0] - 1]
        after = bytes_[closing[closing < len(data) - 1] + 1]
        if beside[before].all() and beside[after].all():
            return quotes
        return self._without_text_quotes(data, quotes)

    def _without_text_quotes(self, data: bytes, quotes: Positions) -> Positions | None:
        quote, separators = ord(self.quote or ""), {ord(self.delimiter), LF, CR}
        enclosing: list[int] = []
        inside, doubled = False, -1
        for at in quotes.tolist():
            if at == doubled:
                continue
            if not inside:
                inside = at == 0 or data[at - 1] in separators
                if inside:
                    enclosing.append(at)
                continue
            after = data[at + 1] if at + 1 < len(data) else LF
            if after == quote:
                doubled = at + 1
            elif after in separators:
                inside = False
                enclosing.append(at)
            else:
                return None
        return np.array(enclosing, np.int64)

    def _frame_tolerant(self, data: bytes, *, final: bool) -> Framed:
        """The slow way, record by record, for text with broken quoting, escapes or comments."""
        kept: list[re.Match[bytes]] = []
        left_out: list[re.Match[bytes]] = []
        removed: list[int] = []
        used = gone = 0
        for match in self._tokens(data):
            kind = match.lastgroup
            if kind == "broken" and not final and self._may_go_on(data, match):
                break
            used = match.end()
            if kind == "record":
                kept.append(match)
                removed.append(gone)
            elif kind != "blank":
                left_out.append(match)
                gone += used - match.start()
        starts = np.array([match.start() for match in kept], np.int64)
        ends = line_ends(data)
        edges = [0, *(edge for match in left_out for edge in match.span()), used]
        return Framed(
            text=b"".join(data[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)),
            starts=starts - np.array(removed, np.int64),
            lines=np.searchsorted(ends, starts),
            used=used,
            used_lines=int(np.searchsorted(ends, used)),
            broken=[
                Broken(int(np.searchsorted(ends, match.start())), raw, self._complaint(raw))
                for match in left_out
                if match.lastgroup == "broken"
                for raw in [match.group().rstrip(b"\r\n")]
            ],
        )

    def _tokens(self, data: bytes) -> Iterator[re.Match[bytes]]:
        """What `data` consists of; a record that is too long counts as a broken line, and others follow."""
        at = 0
        while at < len(data) and (match := self._token.match(data, at)):
            if match.end() - at > MAX_RECORD_BYTES and match.lastgroup == "record":
                match = _BROKEN.match(data, at) or match
            yield match
            at = match.end()

    def _may_go_on(self, data: bytes, line: re.Match[bytes]) -> bool:
        """Whether a line that is not a record may be the start of one that the block's end cuts."""
        if len(data) - line.start() > MAX_RECORD_BYTES:
            return False
        return line.end() == len(data) or self._cut_record.match(data, line.start()) is not None

    def _complaint(self, raw: bytes) -> str:
        if self.quote and raw.count(self.quote.encode()) % 2:
            return f"a quote ({self.quote}) is opened and not closed, or closed and not opened"
        return f"text follows a closing quote ({self.quote}); a quote inside a quoted cell must be doubled"


def line_ends(data: bytes) -> Positions:
    """Positions of the last byte of each line break: LF, CRLF or a lone CR."""
    bytes_ = np.frombuffer(data, np.uint8)
    if b"\r" not in data:
        return np.flatnonzero(bytes_ == LF)
    carriage = bytes_ == CR
    carriage[:-1] &= bytes_[1:] != LF
    return np.flatnonzero(carriage | (bytes_ == LF))
