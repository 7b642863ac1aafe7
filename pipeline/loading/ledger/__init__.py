"""What was sent to Omneo: intents, outcomes and counts, in SQLite or PostgreSQL."""
