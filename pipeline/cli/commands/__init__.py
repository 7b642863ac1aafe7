"""One file a command: it reads its options, calls its workflow, and shows the result."""
