"""Faster ways to run a backbone."""
