"""The messages of a running stage: on a terminal one line that is updated, in the log file a line each."""

import logging
import sys
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from loopda.runtime import processes
from loopda.text.encoding import REPLACE

QUIET_SECONDS = 15.0  # between two progress lines in the log and without a terminal
_warned: set[tuple[str, int]] = set()  # what `warn_once` has warned of, and on which file system


class Log:
    """Writes messages to a log file and to standard error; a terminal shows progress in one line that is updated.

    Of several processes, only the first writes.
    """

    def __init__(self, path: Path | None, stage: str):
        self.path = path
        self.stage = stage
        self.terminal = sys.stderr.isatty()
        self.last_progress = 0.0
        self.open_line = False

    def say(self, text: str) -> None:
        """Write one line to standard error and to the log."""
        if not processes.is_first():
            return
        self._to_file(text)
        if self.open_line:
            print(file=sys.stderr)
            self.open_line = False
        print(f"{self.stage}: {text}", file=sys.stderr, flush=True)

    def progress(self, text: str, *, final: bool = False) -> None:
        """Report progress: a terminal shows every call in place of the last; elsewhere at most one line per 15 s."""
        if not processes.is_first():
            return
        now = time.monotonic()
        due = final or now - self.last_progress >= QUIET_SECONDS
        if due:
            self.last_progress = now
            self._to_file(text)
        if self.terminal:
            print(f"\r\033[K{self.stage}: {text}", end="", file=sys.stderr, flush=True)
            self.open_line = True
        elif due:
            print(f"{self.stage}: {text}", file=sys.stderr, flush=True)

    def _to_file(self, text: str) -> None:
        if self.path is not None:
            # a full disk must not end a stage here; the line still goes to standard error
            with suppress(OSError), open(self.path, "a", encoding="utf-8", errors=REPLACE) as file:
                print(f"{time.strftime('%H:%M:%S')} {text}", file=file)


def warn_once(what: str, folder: Path, text: str) -> None:
    """Warn of `folder` on standard error and in the log of the stage, once per process, `what` and file system."""
    if (what, folder.stat().st_dev) not in _warned:
        _warned.add((what, folder.stat().st_dev))
        logging.getLogger("loopda").warning("%s: %s", folder, text)


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    return str(timedelta(seconds=round(seconds)))
