"""Tasks, one file each: ask, write, read, metrics."""
