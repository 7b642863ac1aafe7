"""Querying many transactions with one request: `GET /transactions?filter[external_id]=a,b,c`.

That the filter takes several ids is not documented. So it is proven with the tenant first: of three
transactions that are known to be there, two are asked for, and exactly those two must come. A tenant that
takes the text for one id gives none, and one that ignores the filter gives others too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

from pipeline.loading.http.lists import NoList, read_pages
from pipeline.loading.http.paced_client import PacedClient

PATH: Final = "/transactions"
MOST_IDS: Final = 100
MOST_CHARACTERS: Final = 2_000
"""Of the ids in one request: servers and proxies refuse URLs from 4,000 to 8,000 on, some earlier."""
_LEAST_IDS: Final = 10
_MOST_ERRORS: Final = 2
"""Server errors until the list counts as not given: while it is unproven, waiting for it costs more."""


class ListQuery:
    """Finds transactions by their external ids, many with one request.

    Args:
        exchange: Asks.

    Attributes:
        works: Whether it is proven that the list takes several ids, and nothing has spoken against it since.
        why_not: Why it is not used; empty where it is, or was not tried.
    """

    def __init__(self, exchange: PacedClient) -> None:
        self.works = False
        self.why_not = ""
        self._exchange = exchange
        self._most_ids = MOST_IDS
        self._last_error = ""

    def takes(self, external_id: str) -> bool:
        """Whether an id can be one of several: commas separate them, and blanks around one may get lost."""
        length = len(quote(external_id, safe=""))
        return (
            bool(external_id)
            and "," not in external_id
            and external_id == external_id.strip()
            and (length < MOST_CHARACTERS)
        )

    def has_room(self, external_ids: Sequence[str], another: str) -> bool:
        """Whether a request for these ids can hold another one."""
        characters = sum(len(quote(each, safe="")) + 1 for each in (*external_ids, another))
        return len(external_ids) < self._most_ids and characters <= MOST_CHARACTERS

    async def prove(self, first: str, second: str) -> Mapping[str, list[Mapping[str, Any]]]:
        """Ask for two transactions that are known to be there, and for one that no tenant has.

        A third one must be there too, or it cannot be seen whether the list gives what was not asked for.

        Args:
            first: External id of one of the two.
            second: External id of the other.

        Returns:
            The rows of the two by their ids; empty where the list cannot be used, and `why_not` says why.
        """
        self.works = True
        invented = f"not-there-{uuid4().hex[:12]}"
        found = await self.find([first, invented, second], most_errors=_MOST_ERRORS)
        if found is None:
            self._give_up(self._last_error)
        elif not (first in found and second in found):
            self._give_up("the list of transactions does not take several ids")
        return found if found is not None and self.works else {}

    async def find(
        self, external_ids: Sequence[str], *, most_errors: int | None = None
    ) -> Mapping[str, list[Mapping[str, Any]]] | None:
        """The transactions with these ids, each with all its copies; None where the list gave no answer.

        Args:
            external_ids: Which, as many as there is room for.
            most_errors: See `ask_page`.

        Raises:
            StoppedByApi: The token was refused, or there was no answer for too long.
        """
        filters = {"filter[external_id]": ",".join(external_ids)}
        asked = set(external_ids)
        alike = {each.casefold() for each in external_ids}
        found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        pages = read_pages(self._exchange, PATH, filters, size=len(external_ids), most_errors=most_errors)
        try:
            async for rows in pages:
                for row in rows:
                    name = str(row.get("external_id"))
                    if name in asked:
                        found[name].append(row)
                    elif name.strip().casefold() not in alike:
                        # Not even an id in other letter case, which some databases return as well.
                        self._give_up("the list of transactions ignores the ids that are asked for")
                        return None
        except NoList as error:
            # Perhaps the URL is too long, so the next one is shorter; in the end the list is not used.
            self._last_error = str(error)
            self._most_ids //= 2
            if self._most_ids < _LEAST_IDS:
                self._give_up(self._last_error)
            return None
        return found

    def _give_up(self, why: str) -> None:
        self.works = False
        self.why_not = self.why_not or why
