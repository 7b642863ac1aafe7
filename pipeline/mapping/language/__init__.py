"""A mapping file in YAML becomes frozen values that keep their line and column."""
