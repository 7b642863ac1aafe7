"""A mapping in YAML: read, checked, compiled to polars expressions, and applied to raw rows.

Each room imports only from the rooms above it in this list:

language    a mapping file becomes frozen values that keep their line and column
functions   what values are computed with: numbers, dates, zones, formulas, JSON text, look-up tables
usage       which columns and formulas a mapping uses, and where in the file
layout      raw rows of any layout become transactions with their lines and payments
compile     a mapping is checked and compiled; a compiled mapping fills the fields of Omneo
scaffold    the first draft of a mapping, inferred from a sample
"""
