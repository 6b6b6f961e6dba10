"""Threads, interrupts and cores: the few places where work runs side by side."""
