"""What a step does with samples: increments, batches, failures, empties, skipping."""
