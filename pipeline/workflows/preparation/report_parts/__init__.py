"""What a dry run adds to its report besides counts."""
