"""The processes of a training: how many there are, what they exchange, signals, determinism."""
