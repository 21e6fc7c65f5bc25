"""Feature assets as a run sees them: what they say, and the assets upstream of them."""
