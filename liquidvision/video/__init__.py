"""Frames: pixels at exact times, read from and written to video."""
