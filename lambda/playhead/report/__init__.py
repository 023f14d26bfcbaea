"""The report: what is known of a home, gathered and shown as one page."""
