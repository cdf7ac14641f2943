"""Imaging modalities that are painted, one file each; the file name is the registry."""
