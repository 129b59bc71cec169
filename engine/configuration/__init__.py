"""What a YAML file may say, and what is said where it may not."""
