"""The steps of `prepare`: plan, cut into partitions, stage each of them, add up."""
