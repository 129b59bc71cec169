"""The errors that a user can correct: one line, exit code 2, no traceback."""


class UsageError(Exception):
    """Bad input: one line naming what was found, what was expected and what to do. Exit code 2, no traceback."""


class NotFiniteError(UsageError):
    """A training that cannot go on, since its loss or gradient is not finite."""


class NothingInCommonError(UsageError):
    """Two methods that cannot be compared in a score, since no group has it by both."""


class ConfigError(UsageError):
    """All that is wrong with a configuration, one problem a line.

    Args:
        problems: lines of `file:line:column: key: what is wrong`.
        partly: network and transforms have not been checked yet, since they take longer; a last line says so.
    """

    def __init__(self, problems: list[str], partly: bool = False) -> None:
        rest = ["the network and the transforms of data.augment are checked once this is corrected"] if partly else []
        super().__init__("\n".join([*problems, *rest]))
        self.problems, self.partly = problems, partly
