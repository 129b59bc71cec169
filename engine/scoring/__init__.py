"""Predictions, scores, and the files they go into."""
