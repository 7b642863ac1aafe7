"""What happened, as data, as a page, and on the terminal."""
