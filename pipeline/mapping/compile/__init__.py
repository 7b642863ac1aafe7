"""Checks a mapping and compiles it to polars expressions that fill the fields of Omneo."""
