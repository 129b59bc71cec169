"""What makes the pages of this folder from the code."""
