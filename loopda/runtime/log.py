"""What a person sees while a stage works: one line that counts on a terminal, lines in the log otherwise."""

import sys
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from loopda.runtime import processes
from loopda.text.encoding import FOR_PEOPLE

QUIET_SECONDS = 15.0  # between two lines where there is no terminal


class Log:
    """Lines to a log file, to standard error too; progress is rewritten in place when that is a terminal.

    Of several processes the first speaks for all.
    """

    def __init__(self, path: Path | None, stage: str):
        self.path = path
        self.stage = stage
        self.terminal = sys.stderr.isatty()
        self.last_progress = 0.0
        self.open_line = False

    def say(self, text: str) -> None:
        """One line, always shown and always logged."""
        if not processes.is_first():
            return
        self._to_file(text)
        if self.open_line:
            print(file=sys.stderr)
            self.open_line = False
        print(f"{self.stage}: {text}", file=sys.stderr, flush=True)

    def progress(self, text: str, *, final: bool = False) -> None:
        """A state that the next call replaces: every call on a terminal, at most one line per 15 s elsewhere."""
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
            # a full disk ends a stage where its results are written, not here; people see the line all the same
            with suppress(OSError), open(self.path, "a", encoding="utf-8", errors=FOR_PEOPLE) as file:
                print(f"{time.strftime('%H:%M:%S')} {text}", file=file)


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    return str(timedelta(seconds=round(seconds)))
