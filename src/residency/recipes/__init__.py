"""Recipes, one file each: a function that returns a line of steps."""
