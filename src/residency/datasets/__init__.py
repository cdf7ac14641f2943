"""Data set readers, one file each; the file name is the name users type."""
