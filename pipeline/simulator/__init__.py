"""A local Omneo for demos, rehearsals and tests."""
