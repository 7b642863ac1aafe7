"""Raw rows become partitions of whole transactions, and accepted transactions an immutable staged run."""
