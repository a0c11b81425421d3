"""What the readers of data sets skip, by cause: hidden files, other formats, labels without an image, and so on.

A reader records what it skips; whoever wants to know collects it (`collect_skipped`) and says so to the user.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from loopda.errors import DataError
from loopda.text.names import examples


class SkippedFiles:
    """Files, or lines of lists, that were skipped: by cause, in the order in which they were met."""

    def __init__(self) -> None:
        self.by_cause: dict[str, dict[str, None]] = {}

    def add(self, cause: str, *files: Path | str) -> None:
        """Add `files`; each counts once."""
        self.by_cause.setdefault(cause, {}).update(dict.fromkeys(map(str, files)))

    def discard(self, paths: Iterable[Path]) -> None:
        """Remove `paths`, which were not skipped after all."""
        known = set(map(str, paths))
        for cause, files in self.by_cause.items():
            self.by_cause[cause] = {file: None for file in files if file not in known}

    def lines(self) -> list[str]:
        """A line for each cause: how many, why, and examples."""
        return [
            f"{len(files)} left out, {cause}: {examples(list(files))}"
            for cause, files in self.by_cause.items()
            if files
        ]


_collector: ContextVar[SkippedFiles | None] = ContextVar("skipped files", default=None)


@contextmanager
def collect_skipped() -> Iterator[SkippedFiles]:
    """Collect what is recorded as skipped while the block runs; an outer collector does not get it."""
    skipped = SkippedFiles()
    token = _collector.set(skipped)
    try:
        yield skipped
    finally:
        _collector.reset(token)


def record_skipped(cause: str, *files: Path | str) -> None:
    """Record that `files` were skipped, for the present collector; without one, nothing happens."""
    if files and (collector := _collector.get()) is not None:
        collector.add(cause, *files)


def nothing_found(message: str) -> DataError:
    """The error that nothing was found, with a line for each cause of what the present collector has."""
    collector = _collector.get()
    return DataError("\n".join([message, *(collector.lines() if collector else ())]))
