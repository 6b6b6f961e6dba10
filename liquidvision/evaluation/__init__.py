"""Evaluation of models: metrics on a dataset, cross-validation, comparison with baselines, robustness."""
