"""Customers as transactions name them, and as Omneo knows them.

From the public reference of `GET /profiles`, `/profiles/{id}` and `/identities/search`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pipeline.core.errors import StoppedByApi
from pipeline.loading.http.answers import Meaning, ReplyVerdict
from pipeline.loading.http.client import Answered
from pipeline.loading.http.endpoints import listing
from pipeline.loading.http.lists import rows_of
from pipeline.loading.http.paced_client import DENIED, PacedClient


@dataclass(frozen=True, order=True)
class Person:
    """How a transaction names its customer.

    Attributes:
        handle: `email`, the handle of an identity, or empty for an Omneo UUID.
        identifier: The email, identity or UUID.
    """

    handle: str
    identifier: str

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Person | None:
        """The customer of a transaction's body; None for a guest's."""
        if body.get("profile_id") in (None, ""):
            return None
        return cls(str(body.get("profile_id_handle") or ""), str(body["profile_id"]))


class NoAnswer(Exception):
    """The token may not ask for this, or what came is no answer of the API.

    Attributes:
        verdict: The answer.
    """

    def __init__(self, verdict: ReplyVerdict) -> None:
        self.verdict = verdict
        super().__init__(f"{verdict.status} {verdict.message}")


async def ask(api: PacedClient, path: str, params: Mapping[str, str]) -> Any:
    """The JSON answer, its numbers as decimals; None where there is no such thing.

    Raises:
        NoAnswer: The token may not ask for it, or there is no answer to this alone.
        StoppedByApi: The token was refused, or there was no answer for too long.
    """
    verdict, reply = await api.ask(listing(path, params), path, or_denied=True)
    if verdict.again or verdict.status in DENIED or verdict.meaning is Meaning.UNCLEAR:
        raise NoAnswer(verdict)
    if verdict.meaning is Meaning.REFUSED and verdict.status != 404:
        raise StoppedByApi(f"Omneo answered {verdict.status} to GET {path}: {verdict.message}.")
    is_there = verdict.meaning is Meaning.TAKEN and isinstance(reply, Answered)
    return reply.json if is_there and isinstance(reply, Answered) else None


async def find_profile(api: PacedClient, person: Person) -> str | None:
    """Omneo's id of a customer; None where it does not know them.

    Raises:
        NoAnswer: See `ask`.
        StoppedByApi: See `ask`.
    """
    if person.handle == "email":
        answer = await ask(api, "/profiles", {"filter[email]": person.identifier})
        email = person.identifier.casefold()
        rows = [row for row in rows_of(answer or []) if str(row.get("email", "")).casefold() == email]
    elif person.handle:
        asked = {"handle": person.handle, "identifier": person.identifier}
        rows = rows_of(await ask(api, "/identities/search", asked) or [])
    else:
        there = await ask(api, f"/profiles/{quote(person.identifier, safe='')}", {})
        return None if there is None else person.identifier
    return str(rows[0].get("profile_id") or rows[0].get("id") or "") if rows else None
