"""What the pass decides, a file a rule."""
