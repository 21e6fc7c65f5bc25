"""The file: who may open it, what it looks like inside, which commits it knows."""
