"""What looks at features from outside of their runs: checks, sensors, conditions, jobs."""
