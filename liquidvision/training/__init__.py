"""Training heads on embedded clips."""
