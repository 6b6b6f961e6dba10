"""How well a model does: scores, cross-validation, baselines, robustness."""
