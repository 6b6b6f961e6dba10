"""Heads: embeddings to logits, with memory."""
