"""What a user can mend."""


class UsageError(Exception):
    """Bad input: one line naming what was found, what was expected and what to do. Exit code 2, no traceback."""


class NothingInCommonError(UsageError):
    """Two methods that cannot be compared in a score, since no group has it by both."""


class ConfigError(UsageError):
    """All that is wrong with a configuration, one problem a line.

    Args:
        problems: lines of `file:line:column: key: what is wrong`.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
