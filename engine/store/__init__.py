"""What is kept on disk: checkpoints, the lock of a run's folder, the state of a training, initial weights."""
