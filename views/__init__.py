"""Pages that show what a config builds and what a training came to."""
