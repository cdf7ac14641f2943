"""`python -m residency` is the command line."""

from residency.cli import entry

entry()
