"""Figures of merit, in numpy alone."""
