"""Signals that ask a process to end: remembered, so that what is being worked on is finished first."""

import os
import signal
import time
from types import TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
TOGETHER = 5.0  # seconds in which several SIGTERM are one request: SLURM sends two to a job that is out of time


class Signals:
    """In its `with` block SIGTERM, SIGINT and SIGUSR1 do no more than set `number`; a second one stops at once.

    Several SIGTERM in a row count as one. number: of the signal that came, or 0. The handlers that were there before
    come back after the block.
    """

    def __init__(self) -> None:
        self.number = 0
        self._since = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        self._before = {number: signal.signal(number, self._remember) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: object) -> None:
        if number == self.number == signal.SIGTERM and time.monotonic() - self._since < TOGETHER:
            return
        if self.number:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.number, self._since = number, time.monotonic()
