"""Errors with causes outside the code, one class per exit code.

Each message is for the person at the terminal: it names the file or the key, what is wrong, and the remedy.
"""


class LoopdaError(Exception):
    """An error that the user can correct; the command line prints its message without a traceback."""

    exit_code = 1


class ConfigError(LoopdaError):
    """A key or a value of the configuration is wrong."""

    exit_code = 2


class DataError(LoopdaError):
    """A file of a data set, a checkpoint or a weights file is missing, damaged or of the wrong kind."""

    exit_code = 3


class DeviceError(LoopdaError):
    """The device is missing, or ran out of memory or of disk space."""

    exit_code = 4


class NumericError(LoopdaError):
    """Training produced a number that is not finite."""

    exit_code = 5


class Interrupted(LoopdaError):
    """A signal stopped the stage, which has saved its progress; the same command continues from there."""

    exit_code = 75
