"""Any frame in, Arrow out: what every store does with frames, whatever engine holds the rows."""
