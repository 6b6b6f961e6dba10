"""Kernels that numba compiles on first use and caches on disk; imported only by liquid/dispatch.py."""
