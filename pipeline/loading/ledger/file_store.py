"""Source files that a tenant has got, so that a nightly run takes only new or changed ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from pipeline.loading.ledger.entries import ImportedFile
from pipeline.loading.ledger.ledger_database import LedgerDatabase
from pipeline.loading.ledger.statements import Statements, in_groups
from pipeline.loading.ledger.tables import FILES


class FileStore:
    """The source files of one tenant.

    Args:
        database: The ledger's database.
        statements: In its dialect.
    """

    def __init__(self, database: LedgerDatabase, statements: Statements) -> None:
        self._database = database
        self._statements = statements

    def by_digest(self, digests: Sequence[str], recipe: str = "") -> dict[str, ImportedFile]:
        """The files with these contents that were read by this recipe; by digest."""
        return {file.digest: file for file in self._files(FILES.c.digest, digests, recipe)}

    def with_digests(self, digests: Sequence[str]) -> list[ImportedFile]:
        """The files with these contents, whatever they were read by."""
        return self._files(FILES.c.digest, digests, None)

    def with_sizes(self, sizes: Sequence[int], recipe: str) -> list[ImportedFile]:
        """The files of these sizes, in bytes as stored, that were read by this recipe."""
        return self._files(FILES.c.size, sizes, recipe)

    def by_path(self, paths: Sequence[str], recipe: str = "") -> list[ImportedFile]:
        """The files that were at these paths when they were read by this recipe."""
        return self._files(FILES.c.path, paths, recipe)

    def note(self, files: Sequence[ImportedFile]) -> None:
        """Note files as read; what was noted of the same contents before is replaced."""
        if files:
            with self._database.writing():
                tenant = self._database.enter_tenant()
                rows = [
                    (tenant, each.digest, each.recipe, each.path, each.size, each.modified_ns, each.run_id)
                    for each in files
                ]
                self._database.connection.exec_driver_sql(self._statements.put_file, rows)

    def _files(
        self, column: sa.Column[Any], values: Sequence[str | int], recipe: str | None
    ) -> list[ImportedFile]:
        with self._database.reading():
            wanted = sa.select(FILES).where(
                FILES.c.tenant_no == self._database.tenant(),
                sa.true() if recipe is None else FILES.c.recipe == recipe,
                column.in_(sa.bindparam("values")),
            )
            return [
                ImportedFile(
                    path=row.path,
                    size=row.size,
                    modified_ns=row.modified_ns,
                    digest=row.digest,
                    run_id=row.run_id,
                    recipe=row.recipe,
                )
                for some in in_groups(values)
                for row in self._database.connection.execute(wanted, {"values": some})
            ]
