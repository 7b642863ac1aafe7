"""Raw rows go through buckets and come out as an immutable staged run."""
