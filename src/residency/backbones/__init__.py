"""Model families, one file each: facts only."""
