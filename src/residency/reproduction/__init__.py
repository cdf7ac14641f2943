"""The command `reproduce`: a paper's table with our figures beside the printed ones."""
