"""From a store to what a parameter is annotated with."""
