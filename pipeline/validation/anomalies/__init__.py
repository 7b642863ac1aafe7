"""Anomalies: what only the sales of a whole run show, and single rows do not."""
