"""A server that does anything at all with a connection: what it has had was never "not sent"."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Sequence

import pytest

from pipeline.loading.http.client import Answered, Call, Reply, Unknown, Unsent
from tests.loading.http.servers import OK, client, length_of, listening

POST = Call("POST", "/x", b'{"external_id": "r1"}')
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
SEVERAL = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n"
EARLIEST, AFTER_HEAD, AFTER_BODY = range(3)


class Odd:
    """Writes pieces, the first at some point of the request, and ends the connection in one of three ways."""

    def __init__(self, pieces: Sequence[bytes], *, when: int, end: str, kept: bool) -> None:
        self.pieces = pieces
        self.when = when
        self.end = end
        self.kept = kept  # the first request gets a good answer, so that the second goes over the same way
        self.whole = 0  # requests of which every byte came

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.kept:
            await self._read(reader)
            writer.write(OK)
        if self.when == EARLIEST:
            await self._write(writer)
        head = await reader.readuntil(b"\r\n\r\n")
        if self.when == AFTER_HEAD:
            await self._write(writer)
        await reader.readexactly(length_of(head))
        self.whole += 1
        if self.when == AFTER_BODY:
            await self._write(writer)
        if self.end == "reset":
            linger = b"\1\0\0\0\0\0\0\0"
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        elif self.end == "silence":
            await asyncio.sleep(0.5)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(length_of(head))
        self.whole += 1

    async def _write(self, writer: asyncio.StreamWriter) -> None:
        for piece in self.pieces:
            writer.write(piece)
            await asyncio.sleep(0)


async def outcomes(odd: Odd) -> list[Reply]:
    # A busy machine may be late; only a server that says nothing must be waited for.
    timeout_s = 0.3 if odd.end == "silence" else 10.0
    async with listening(odd.handle) as port, client(port, timeout_s=timeout_s) as one:
        return [await one.send(POST) for _ in range(1 + odd.kept)]


async def check_all(odd: Sequence[Odd]) -> list[list[Reply]]:
    places = asyncio.Semaphore(12)

    async def checked(one: Odd) -> list[Reply]:
        async with places:
            replies = await outcomes(one)
        check(one, replies)
        return replies

    return await asyncio.gather(*map(checked, odd))


def check(odd: Odd, replies: list[Reply]) -> None:
    described = [f"{odd.when} {odd.end} {odd.kept} {b''.join(odd.pieces)[:80]!r}: {each}" for each in replies]
    assert all(isinstance(each, Answered | Unknown | Unsent) for each in replies), described
    not_sent = sum(isinstance(each, Unsent) for each in replies)
    assert odd.whole <= len(replies) - not_sent, described


@pytest.mark.slow
@pytest.mark.parametrize("end", ["close", "reset", "silence"])
@pytest.mark.parametrize("kept", [False, True])
def test_an_answer_may_be_cut_off_at_every_byte(end: str, kept: bool) -> None:
    async def main() -> None:
        for answer in (OK, CHUNKED, SEVERAL + OK):
            every = 1 if end != "silence" else 7
            cuts = [
                Odd([answer[:cut]], when=AFTER_BODY, end=end, kept=kept)
                for cut in range(0, len(answer) + 1, every)
            ]
            for odd, replies in zip(cuts, await check_all(cuts), strict=True):
                cut_off = len(odd.pieces[0]) < len(answer)
                assert not (cut_off and isinstance(replies[-1], Answered)), (odd.pieces, replies)

    asyncio.run(main())


GARBAGE = [
    b"", b"\r\n", b"\r\n\r\n", b"\0" * 50, b"HTTP", b"HTTP/1.1 \r\n\r\n", b"HTTP/1.1 20 OK\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n", b"HTTP/1.1 -200 OK\r\n\r\n", b"HTTP/3 200 OK\r\n\r\n", b"ICY 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", b"HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok", b"HTTP/1.1 200 OK\r\n: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", b"HTTP/1.1 200 OK\r\nA\0B: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n", b"HTTP/1.1 200 \xff\xfe\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: \xff\xfe\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nSet-Cookie: \xff=;;;\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n" + b"x" * 100,
    b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 102 Processing\r\n\r\n" * 30,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\nok",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nok\r\n0\r\n\r\n",
    b"\x15\x03\x03\x00\x02\x02\x28", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"".join(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * count + b"\r\n" for count in (300,)),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("when", [EARLIEST, AFTER_HEAD, AFTER_BODY])
@pytest.mark.parametrize("end", ["close", "reset", "silence"])
def test_an_answer_may_be_anything_at_any_time(when: int, end: str) -> None:
    async def main() -> None:
        await check_all(
            [Odd([each], when=when, end=end, kept=kept) for each in GARBAGE for kept in (False, True)]
        )

    asyncio.run(main())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_random_pieces_of_answers_mean_nothing_worse_than_a_doubt(seed: int) -> None:
    dice = random.Random(seed)

    def odd() -> Odd:
        text = bytearray(dice.choice([OK, CHUNKED, SEVERAL + OK, dice.choice(GARBAGE)]))
        for _ in range(dice.randrange(4)):
            if text:
                at = dice.randrange(len(text))
                text[at : at + dice.randrange(3)] = dice.randbytes(dice.randrange(3))
        cuts = sorted(dice.randrange(len(text) + 1) for _ in range(dice.randrange(4)))
        pieces = [bytes(text[a:b]) for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        end = dice.choice(["close", "reset", "silence"])
        return Odd(pieces, when=dice.randrange(3), end=end, kept=dice.random() < 0.5)

    async def main() -> None:
        await check_all([odd() for _ in range(60)])

    asyncio.run(main())
