"""Errors a user can act on: one line that says what was given, what is allowed, and what to do."""


class ResidencyError(Exception):
    """Base of every error that is reported as one line; the exit code follows the design."""

    exit_code = 1


class UsageError(ResidencyError):
    """Wrong input or usage: an unknown key, a wrong type, an impossible plan."""

    exit_code = 2


class DataError(UsageError):
    """A file or sample that cannot be used: missing, truncated, a label outside the set."""


class CheckpointError(ResidencyError):
    """No valid checkpoint where one is needed."""

    exit_code = 3
