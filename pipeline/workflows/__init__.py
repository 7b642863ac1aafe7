"""What each command does: the stages put together, and what is kept about a run."""
