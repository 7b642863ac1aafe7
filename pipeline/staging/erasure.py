"""Erases the contents of single transactions in a staged run; all others stay as they were reviewed.

The row stays, with its id, its time and an empty body: positions in the order of delivery do not move, so
what was sent is still known to have been sent. Delivery skips such a row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import polars as pl
import pyarrow.parquet as pq

from pipeline.core.storage import parquet
from pipeline.core.storage.files import write_private
from pipeline.staging.manifest import Manifest, PartRecord, write_manifest
from pipeline.staging.staged_run import encoded, fingerprint_of
from pipeline.staging.workdir import RunDir

_DRAFT: Final = ".forgetting"


def bodies_with(run: RunDir, manifest: Manifest, holds: pl.Expr) -> list[str]:
    """Ids of the staged transactions for which `holds`, an expression over `body`, is true."""
    return [
        external_id
        for part in _there(run, manifest)
        for external_id in parquet.read(run.staged / part.file).filter(holds)["external_id"]
    ]


def blank_bodies(run: RunDir, manifest: Manifest, holds: pl.Expr) -> Manifest:
    """Empty the bodies for which `holds` is true, and record the new parts.

    The manifest is written before the new parts replace the old ones. After a crash in between, `settle`
    replaces those that the manifest has the fingerprints of.
    """
    parts = {part.file: _drafted(run, part, holds) for part in _there(run, manifest)}
    blanked = sum(number for _, number in parts.values())
    if not blanked:
        return manifest
    records = tuple(parts[part.file][0] if part.file in parts else part for part in manifest.parts)
    changed = replace(manifest, parts=records, forgotten=manifest.forgotten + blanked)
    write_manifest(run, changed)
    settle(run, changed)
    return changed


def settle(run: RunDir, manifest: Manifest) -> None:
    """Replace parts by their drafts, and remove drafts that the manifest does not have."""
    known = {part.file: part.fingerprint for part in manifest.parts}
    for draft in run.staged.glob(f"*{_DRAFT}"):
        part = draft.with_suffix("")
        if fingerprint_of(draft) == known.get(part.name):
            draft.replace(part)
        else:
            draft.unlink()


def _there(run: RunDir, manifest: Manifest) -> Iterator[PartRecord]:
    # `prune` may have removed the bodies of this run.
    return (part for part in manifest.parts if (run.staged / part.file).exists())


def _drafted(run: RunDir, part: PartRecord, holds: pl.Expr) -> tuple[PartRecord, int]:
    """Write the changed part beside the old one; gives its record, and how many bodies were emptied."""
    path = run.staged / part.file
    rows = parquet.read(path)
    blanked = rows.filter(holds).height
    if not blanked:
        return part, 0
    changed = rows.with_columns(pl.when(holds).then(pl.lit("")).otherwise(pl.col("body")).alias("body"))
    draft = path.with_name(path.name + _DRAFT)
    # With row groups of the same size as before: it was chosen by the number of parts.
    content = encoded(changed, pq.ParquetFile(path).metadata.row_group(0).num_rows)
    # Written to the disk before the manifest says that it is there.
    write_private(draft, content)
    size = int(changed["body"].str.len_bytes().sum())
    return replace(part, body_bytes=size, fingerprint=hashlib.sha256(content).hexdigest()), blanked
