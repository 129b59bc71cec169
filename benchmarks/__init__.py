"""Measurements, each a ratio to a peer of the same run."""
