"""Text for people: what is private in it, what is safe to show, and its wording."""
