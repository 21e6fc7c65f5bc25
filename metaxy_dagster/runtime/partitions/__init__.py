"""Partitions of Dagster as choices of samples."""
