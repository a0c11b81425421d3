"""The file metrics.jsonl of a training in progress: a line of averages for every few steps."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from loopda.errors import DeviceError
from loopda.runtime.files import append_text, write_text
from loopda.training.collapse import collapsed

Values = Mapping[str, Tensor | float]


class MetricsWriter:
    """The averages since the last line, and the lines so far.

    writes: whether this process writes the file `path`; of several processes the first does. until: the step after
    which the training resumes; later lines, and a half-written last one, are dropped. history: the lines. warnings: of
    collapsed discriminators, by the names of their losses.
    """

    def __init__(self, path: Path, *, writes: bool, until: int):
        self.path = path
        self.history: list[dict[str, Any]] = []
        self.warnings: dict[str, str] = {}
        self._sums: dict[str, tuple[Tensor | float, int]] = {}  # and the numbers of values
        self._skipped = 0
        self._unwritten = ""
        for line in _truncated(path, until) if writes else []:
            self._append(line)

    @property
    def seconds(self) -> float:
        """The training time up to the last line."""
        return self.history[-1]["seconds"] if self.history else 0.0

    @property
    def has_new(self) -> bool:
        """Whether any step was added or skipped since the last call of `averages`."""
        return bool(self._sums or self._skipped)

    def add(self, values: Values) -> None:
        """Add the values of one step; a value may be absent from some steps."""
        for name, value in values.items():
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = (total + value, count + 1)

    def skip(self) -> None:
        """Count a skipped step."""
        self._skipped += 1

    def averages(self) -> tuple[dict[str, float], int]:
        """The mean of each value, and the number of skipped steps, since the last call."""
        means = {name: float(total) / count for name, (total, count) in self._sums.items()}
        skipped, self._sums, self._skipped = self._skipped, {}, 0
        return means, skipped

    def write(self, line: dict[str, Any]) -> list[str]:
        """Write a line and return the new warnings. A full disk is reported by `flush` only."""
        self._unwritten += json.dumps(line) + "\n"
        with suppress(DeviceError):
            self.flush()
        return self._append(line)

    def flush(self) -> None:
        """Write the lines that `write` could not; DeviceError where it fails again."""
        append_text(self.path, self._unwritten)
        self._unwritten = ""

    def text(self) -> str:
        """The content of the file; empty where there is none."""
        return self.path.read_text(encoding="utf-8") if self.path.exists() else ""

    def _append(self, line: dict[str, Any]) -> list[str]:
        self.history.append(line)
        new = {name: text for name, text in collapsed(self.history).items() if name not in self.warnings}
        self.warnings |= new
        return list(new.values())


def _truncated(path: Path, step: int) -> list[dict[str, Any]]:
    """Drop the lines after `step` and a half-written last line, and return the others."""
    kept = []
    if path.exists():
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                break
            if line["step"] > step:
                break
            kept.append(line)
        write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
    return kept
