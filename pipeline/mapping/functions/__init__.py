"""What values are computed with: numbers, dates, zones, formulas, JSON text, look-up tables."""
