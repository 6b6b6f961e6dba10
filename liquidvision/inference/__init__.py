"""From frames to predictions: the clock, the session, the pipeline, summaries and records."""
