"""Liquid time-constant networks: cells, traces and the head that a frozen backbone's embeddings go through."""
