"""A staged run goes to Omneo, exactly once in effect, and is confirmed there."""
