"""Mapped transactions are split into accepted and quarantine."""
