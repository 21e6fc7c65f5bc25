"""What Dagster is told of features."""
