"""From predictions to evidence."""
