"""A YAML mapping, its frozen model, and its compiler to polars expressions."""
