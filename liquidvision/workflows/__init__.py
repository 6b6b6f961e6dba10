"""Whole jobs: plain data in, results out."""
