"""A tenant's locations, currencies, profiles and their identities."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from pipeline.simulator.database import Database, Json, Query, ResultPage, now
from pipeline.simulator.simulator_settings import Profile, SimulatorSettings

_LOCATION_KEYS: Final = ("id", "external_id", "name", "timezone", "created_at")
_LOCATION_COLUMNS: Final = ", ".join(_LOCATION_KEYS)
_PROFILE_KEYS: Final = ("id", "email", "first_name", "last_name")


class ReferenceData:
    """Looks up what transactions refer to, and adds locations that are new."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._enrols = False

    def seed(self, settings: SimulatorSettings) -> None:
        """Add what the settings say, where it is not there yet."""
        self._enrols = settings.unknown_profiles == "enrol"
        main = settings.currencies[0] if settings.currencies else ""
        with self._db.writing():
            self._db.executemany(
                'INSERT OR IGNORE INTO currencies ("from", "to", rate, is_system) VALUES (?, ?, 1, ?)',
                [(code, main, code == main) for code in settings.currencies],
            )
            self._db.executemany(
                "INSERT OR IGNORE INTO locations (external_id, name, timezone, created_at) "
                "VALUES (?, ?, ?, ?)",
                [(each.external_id, each.name, each.timezone, now()) for each in settings.locations],
            )
            self._db.executemany(
                "INSERT OR IGNORE INTO profiles (id, email, first_name, last_name) VALUES (?, ?, ?, ?)",
                [(each.id, each.email, each.first_name, each.last_name) for each in settings.profiles],
            )
            self._db.executemany(
                "INSERT OR IGNORE INTO identities VALUES (?, ?, ?)",
                [
                    (handle, identifier, each.id)
                    for each in settings.profiles
                    for handle, identifier in each.identities.items()
                ],
            )

    def location_id(self, reference: str) -> int:
        """The id of a location, found by id, then by `external_id`; an unknown location is created."""
        if reference.isascii() and reference.isdigit():
            row = self._db.execute("SELECT id FROM locations WHERE id = ?", (reference,)).fetchone()
            if row:
                return int(row[0])
        row = self._db.execute("SELECT id FROM locations WHERE external_id = ?", (reference,)).fetchone()
        if row:
            return int(row[0])
        cursor = self._db.execute(
            "INSERT INTO locations (external_id, name, created_at) VALUES (?, ?, ?)",
            (reference, reference, now()),
        )
        return cursor.lastrowid or 0

    def location(self, number: int) -> Json:
        """A location by its id."""
        sql = f"SELECT {_LOCATION_COLUMNS} FROM locations WHERE id = ?"  # noqa: S608  (names are this module's)
        return dict(zip(_LOCATION_KEYS, self._db.execute(sql, (number,)).fetchone(), strict=True))

    def locations(self, query: Query) -> ResultPage:
        """A page of locations."""
        rows, total = self._db.select("locations", _LOCATION_COLUMNS, query, "id")
        return ResultPage([dict(zip(_LOCATION_KEYS, row, strict=True)) for row in rows], total)

    def currencies(self, query: Query) -> ResultPage:
        """A page of the configured currencies, each as a conversion `from` one `to` the system's own.

        This is the form that the SDK's `Currency` has.
        """
        rows, total = self._db.select("currencies", 'id, "from", "to", rate, is_system', query, "id")
        keys = ("id", "from", "to", "rate", "is_system")
        return ResultPage([dict(zip(keys, [*row[:4], bool(row[4])], strict=True)) for row in rows], total)

    def profiles(self, query: Query, search: str | None = None) -> ResultPage:
        """A page of profiles, each with its identities; `search` is looked for in email and names."""
        if search:
            text = "coalesce(email, '') || ' ' || first_name || ' ' || last_name"
            query = replace(query, where=[*query.where, (f"instr(lower({text}), lower(?)) > 0", search)])
        rows, total = self._db.select("profiles", ", ".join(_PROFILE_KEYS), query, "number")
        return ResultPage([self._profile(row) for row in rows], total)

    def _profile(self, row: tuple[Any, ...]) -> Json:
        found = self._db.execute(
            "SELECT handle, identifier FROM identities WHERE profile_id = ? ORDER BY handle", (row[0],)
        )
        identities = [{"handle": handle, "identifier": identifier} for handle, identifier in found]
        return dict(zip(_PROFILE_KEYS, row, strict=True)) | {"identities": identities}

    def customer(self, handle: str | None, value: str) -> str | None:
        """The UUID that a transaction's customer gets: as `profile_id`, or newly enrolled."""
        found = self.profile_id(handle, value)
        if found or not self._enrols:
            return found
        person = _person(handle, value)
        self._db.execute(
            "INSERT INTO profiles (id, email, first_name, last_name) VALUES (?, ?, ?, ?)",
            (person.id, person.email, person.first_name, person.last_name),
        )
        self._db.executemany(
            "INSERT INTO identities VALUES (?, ?, ?)",
            [(name, identifier, person.id) for name, identifier in person.identities.items()],
        )
        return person.id

    def profile_id(self, handle: str | None, value: str) -> str | None:
        """The UUID that a `profile_id` and its `profile_id_handle` mean; None where no profile has it."""
        if not handle:
            row = self._db.execute("SELECT id FROM profiles WHERE id = ?", (value,)).fetchone()
        elif handle == "email":
            row = self._db.execute(
                "SELECT id FROM profiles WHERE email = ? ORDER BY number LIMIT 1", (value,)
            ).fetchone()
        else:
            return self.profile_id_of_identity(handle, value)
        return row and str(row[0])

    def profile_id_of_identity(self, handle: str, identifier: str) -> str | None:
        """The UUID of the profile that has an identity; None where no profile has it."""
        row = self._db.execute(
            "SELECT profile_id FROM identities WHERE handle = ? AND identifier = ?", (handle, identifier)
        ).fetchone()
        return row and str(row[0])


def _person(handle: str | None, value: str) -> Profile:
    """A profile of which only one identity is known."""
    if not handle:
        return Profile(id=value)
    return Profile(email=value) if handle == "email" else Profile(identities={handle: value})
