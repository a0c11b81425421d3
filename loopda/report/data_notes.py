"""What the stage `prepare` noticed about the data: the notes of summary.json, grouped by data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopda.runtime.json_files import JsonFile, read_json

SHOWN = 6  # notes of a data set on the page; our choice: the file has all


class Summary(JsonFile):
    """The summary.json of `prepare`, as far as the page shows it. notes: `<set>: <text>` each."""

    sets: Mapping[str, Mapping[str, Any]]
    notes: Sequence[str]


@dataclass(frozen=True)
class DataNotes:
    """The notes of a summary. by_set: data set -> its notes, in the order of the file. path: of the summary."""

    by_set: Mapping[str, Sequence[str]]
    path: Path


def read_data_notes(path: Path) -> DataNotes:
    """Read the notes of a summary.json; each stands there once.

    A note on a set that does not exist is left out: the page says elsewhere what was not measured.
    """
    summary = read_json(path, Summary, "run the stage `prepare` again")
    by_set: dict[str, list[str]] = {}
    for note in dict.fromkeys(summary.notes):
        name, _, text = note.partition(": ")
        if name in summary.sets:
            by_set.setdefault(name, []).append(text)
    return DataNotes(by_set, Path(path))


def shortened(notes: DataNotes) -> list[tuple[str, list[str]]]:
    """(data set, lines): at most SHOWN notes of each set, then how many more the file has."""
    return [
        (name, [*lines[:SHOWN], *([f"and {len(lines) - SHOWN} more in {notes.path}"] if len(lines) > SHOWN else [])])
        for name, lines in notes.by_set.items()
    ]
