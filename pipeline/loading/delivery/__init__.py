"""Sending the transactions of a run, each at most once in flight, from wherever a load stopped."""
