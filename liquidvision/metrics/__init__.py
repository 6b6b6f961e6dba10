"""Metrics of predictions over annotated videos: classification, segments in time, bootstrap intervals."""
