"""Kernels that numba compiles at first use, and keeps on disk; imported by liquid/dispatch.py alone."""
