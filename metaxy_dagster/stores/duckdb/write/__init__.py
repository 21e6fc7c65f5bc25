"""From frames to the file, as one commit."""
