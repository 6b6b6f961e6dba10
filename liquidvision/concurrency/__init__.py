"""Threads, interrupts and processor cores."""
