"""Files and folders, on a disk or in a store: how they are named, written and read."""
