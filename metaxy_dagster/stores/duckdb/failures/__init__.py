"""Samples that could not be computed."""
