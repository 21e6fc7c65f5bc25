"""``metaxy-dagster retrofit``: keys for assets of an old repository, from what they made."""
