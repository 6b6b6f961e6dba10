"""Drawing predictions: overlay, chart, window."""
