"""The commands, a file for each family: their options and what they write."""
