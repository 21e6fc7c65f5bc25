"""What the embedded store says to its engine: names, values, conditions, types."""
