"""What a pass is going to do, as frozen data."""
