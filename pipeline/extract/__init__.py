"""Files become raw rows: string cells, each with its file and physical line."""
