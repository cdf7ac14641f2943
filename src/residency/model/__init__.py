"""Backbones at work: parts, slots, experts, generation."""
