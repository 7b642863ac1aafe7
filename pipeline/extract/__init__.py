"""Files to raw string rows with lineage: where sources are, and a reader for each format."""

from __future__ import annotations

from pipeline.extract.readers import open_reader
from pipeline.extract.rows import Batch, Reader
from pipeline.extract.source_files import SourceFile, find_sources, fingerprint

__all__ = ["Batch", "Reader", "SourceFile", "find_sources", "fingerprint", "open_reader"]
