"""What can go wrong for reasons outside the code, one class per exit code.

The message of each error is written for the person at the terminal: it names the file or the key, and the remedy.
"""


class LoopdaError(Exception):
    """A fault the user can mend; the command line prints its message alone, without a traceback."""

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
    """Stopped by a signal after its progress was saved; the same command goes on from there."""

    exit_code = 75
