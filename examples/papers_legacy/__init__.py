"""Papers that came in, and what is made of them: plain Dagster, as it was written years ago."""
