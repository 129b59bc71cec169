"""Predictions, scores and their files."""
