"""Residency turns a generalist vision-language model into a specialist of an expert domain, and proves it."""
