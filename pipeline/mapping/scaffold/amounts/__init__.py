"""Which columns are amounts of lines and of sales, found by arithmetic."""
