"""The experiment: configuration, training, evaluation, pictures."""
