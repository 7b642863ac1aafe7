"""What people would use instead; each file runs by itself in the peers' own environment."""
