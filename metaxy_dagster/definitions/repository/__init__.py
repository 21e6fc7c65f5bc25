"""What there is: a Definitions, read once."""
