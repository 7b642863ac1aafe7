"""Lists as Omneo answers with them: rows in an envelope `data`, in pages, with a total in `meta`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from itertools import count
from typing import Any, NamedTuple

from pipeline.loading.http.answers import Meaning, ReplyVerdict
from pipeline.loading.http.client import Answered
from pipeline.loading.http.endpoints import listing
from pipeline.loading.http.paced_client import PacedClient


class NoList(Exception):
    """The tenant gave no list: the token may not ask for it, or what came is no list.

    Attributes:
        verdict: The answer.
    """

    def __init__(self, path: str, verdict: ReplyVerdict) -> None:
        self.verdict = verdict
        answer = f"{verdict.status or 'no answer'} {verdict.message}".strip()
        no_list = "which is no list" if verdict.meaning is Meaning.TAKEN else answer
        super().__init__(f"GET {path}: {no_list}")


class Page(NamedTuple):
    """A page of a list.

    Attributes:
        rows: Its rows, numbers with a fraction as decimals.
        total: How many rows all pages have together; None where the answer does not say.
        has_next: Whether there is another page; None where the answer does not say.
    """

    rows: list[Mapping[str, Any]]
    total: int | None
    has_next: bool | None


def is_list(answer: Any) -> bool:
    """Whether an answer is a list, with or without the envelope `data`."""
    return isinstance(answer.get("data") if isinstance(answer, dict) else answer, list)


def rows_of(answer: Any) -> list[Mapping[str, Any]]:
    """The rows of a list, with or without the envelope `data`; one object counts as a list of one."""
    data = answer.get("data", []) if isinstance(answer, dict) else answer
    rows = data if isinstance(data, list) else [data]
    return [row for row in rows if isinstance(row, dict)]


async def ask_page(
    exchange: PacedClient,
    path: str,
    params: Mapping[str, str],
    *,
    most_errors: int | None = None,
    stopping: Collection[int | None] | None = None,
) -> Page:
    """Ask for a page of a list.

    Args:
        exchange: Asks.
        path: Of the list.
        params: Filters and the page.
        most_errors: See `PacedClient.ask`.
        stopping: See `PacedClient.ask`.

    Raises:
        NoList: There is none for this token.
        StoppedByApi: The token was refused (401), or there was no answer for too long.
    """
    verdict, reply = await exchange.ask(
        listing(path, params), path, or_denied=True, most_errors=most_errors, stopping=stopping
    )
    answer = reply.json if isinstance(reply, Answered) else None
    if verdict.meaning is not Meaning.TAKEN or not is_list(answer):
        raise NoList(path, verdict)
    meta, links = (answer.get(name) if isinstance(answer, dict) else None for name in ("meta", "links"))
    total = meta.get("total") if isinstance(meta, dict) else None
    has_next = bool(links["next"]) if isinstance(links, dict) and "next" in links else None
    return Page(rows_of(answer), total if isinstance(total, int) and total >= 0 else None, has_next)


async def read_pages(
    exchange: PacedClient,
    path: str,
    params: Mapping[str, str],
    *,
    size: int,
    most_errors: int | None = None,
    stopping: Collection[int | None] | None = None,
) -> AsyncIterator[list[Mapping[str, Any]]]:
    """The rows of a list, page by page, also where its pages are smaller than was asked for.

    A page that has nothing new ends it: some lists know no pages and answer the first one again.

    Args:
        exchange: Asks.
        path: Of the list.
        params: Filters.
        size: Rows to ask for in a page.
        most_errors: See `PacedClient.ask`.
        stopping: See `PacedClient.ask`.

    Raises:
        NoList: There is none for this token.
        StoppedByApi: The token was refused (401), or there was no answer for too long.
    """
    seen: set[str] = set()
    read = first = 0
    for number in count(1):
        which = {"page[size]": str(size), "page[number]": str(number)}
        page = await ask_page(exchange, path, {**params, **which}, most_errors=most_errors, stopping=stopping)
        new = [row for row in page.rows if _key(row) not in seen]
        seen.update(map(_key, new))
        read += len(page.rows)
        first = first or len(page.rows)
        if new:
            yield new
        if page.total is not None:
            is_last = read >= page.total
        elif page.has_next is not None:
            is_last = not page.has_next
        else:
            # Without a total or a next link, a page shorter than the first one is the last.
            is_last = len(page.rows) < first
        if is_last or not new:
            return


def _key(row: Mapping[str, Any]) -> str:
    """What tells a row from all others."""
    return str(row["id"]) if row.get("id") is not None else repr(sorted(row.items(), key=str))
