"""Whether Omneo has what was sent: queries, comparisons and webhooks."""
