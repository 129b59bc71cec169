"""What is wrong with data."""


class DataError(ValueError):
    """Data that cannot be used: one line naming the file, what was found, what was expected and what to do."""
