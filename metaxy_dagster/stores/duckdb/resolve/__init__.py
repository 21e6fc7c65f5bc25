"""Which samples are new, stale or orphaned, and why."""
