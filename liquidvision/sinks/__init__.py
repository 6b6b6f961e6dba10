"""Where annotated video goes, and what is drawn onto it."""
