"""The fast way to find records gives what the slow way gives, wherever it answers at all."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.extract.framing import Framed, Grammar


def contents_of(framed: Framed) -> tuple[object, ...]:
    records = list(zip(framed.starts.tolist(), framed.lines.tolist(), strict=True))
    return bytes(framed.text), records, framed.used, framed.used_lines


@given(st.text(alphabet='ab,"\n\r', max_size=40), st.booleans())
@example('5" pipe,"a\nb"\n"""x""",5"\n', True)
def test_both_ways_agree(text: str, final: bool) -> None:
    grammar = Grammar(",")
    data = (text + "\n").encode() if final else text.encode().rstrip(b"\r")
    fast = grammar._frame_regular(data, final=final)
    if fast:
        slow = grammar._frame_tolerant(data, final=final)
        assert contents_of(fast) == contents_of(slow)
        assert not slow.broken


def test_the_fast_way_answers_for_quotes_in_text() -> None:
    """Else a whole export with inch marks would be read record by record."""
    fast = Grammar(",")._frame_regular(b'1,5" pipe\n2,"a\n,b"\n3,bolt 5"\n', final=True)
    assert fast
    assert fast.lines.tolist() == [0, 1, 3]


def test_a_record_that_is_cut_is_left_for_the_next_block() -> None:
    for cut in (b'1,"a', b'1,"a"', b'1,"a\n', b'1,5" pipe, "x', b"1,a", b"1\r"):
        framed = Grammar(",").frame(b"0,x\n" + cut, final=False)
        assert (framed.used, framed.lines.tolist(), framed.broken) == (4, [0], []), cut
