"""The training loop, what guards it, and what repeats it."""
