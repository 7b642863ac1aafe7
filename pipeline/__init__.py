"""Bulk import of historical point-of-sale transactions into Omneo."""

__version__ = "0.1.0"
