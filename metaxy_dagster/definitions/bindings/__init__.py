"""Which asset carries which feature, and what the feature says of it."""
