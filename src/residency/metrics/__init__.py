"""Metrics, one file each, with an id and an exact definition."""
