"""The plan in the making: what rules look at, and what they yield."""
