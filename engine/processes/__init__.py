"""Several processes for one training."""
