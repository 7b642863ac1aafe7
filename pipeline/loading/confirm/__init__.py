"""Whether Omneo has what was sent: look-ups, comparisons and webhooks."""
