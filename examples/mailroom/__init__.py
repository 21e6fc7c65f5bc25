"""A mail room: digits are scanned day by day, read by a program, and typed in by people."""
