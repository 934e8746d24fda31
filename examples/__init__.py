"""A small picture set, drawn by the project's own script."""
