"""What `forget` looks for, and where."""
