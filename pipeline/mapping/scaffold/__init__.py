"""The first draft of a mapping, inferred from a sample of an export."""
