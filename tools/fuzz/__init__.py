"""Damaged video files, and what `liquidvision infer` does with them."""
