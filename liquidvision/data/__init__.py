"""Annotated videos and their embeddings: formats, splits, audits, caches."""
