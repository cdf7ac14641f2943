"""Procedural images with exact answers, deterministic in (seed, index)."""
