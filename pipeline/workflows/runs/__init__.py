"""What is kept about a run, what is true of it now, and who works on it."""
