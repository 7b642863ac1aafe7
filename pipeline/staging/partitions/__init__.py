"""Raw rows as partitions of whole transactions, so that memory does not grow with the input."""
