"""What a pass decides: one rule a file, all of one shape; ``order`` lists them."""
