"""From the file to frames."""
