"""Trained networks as files that other programs run, and what runs them here."""
