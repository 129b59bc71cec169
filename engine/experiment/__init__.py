"""A run's folder, its folds, and what training and scoring share: data, network, device."""
