"""Which columns, definitions and formulas a mapping uses, and where in the file it names them."""
