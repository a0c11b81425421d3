"""Provenance: <name>.made.json, beside the main file of a result, holds the SHA-256 of its stage's inputs and outputs.

The times of files change when a project is copied or fetched. With these records, `loopda.vouch` and `loopda.status`
find the results whose inputs have not changed.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from loopda.runtime.files import sha256, write_json


def record_path(result: Path) -> Path:
    """The path of the record for the main file `result`."""
    return result.with_name(f"{result.stem}.made.json")


def write_record(result: Path, files: Iterable[Path]) -> None:
    """Write the record of `result`. files: inputs and outputs of its stage; folders and missing files are skipped."""
    digests = {str(path): sha256(path) for path in dict.fromkeys(files) if path.is_file()}
    write_json(record_path(result), {"sha256": digests})


def read_record(result: Path) -> dict[str, str] | None:
    """Path -> SHA-256 from the record of `result`; None where there is no record, or it is damaged."""
    try:
        files = json.loads(record_path(result).read_text(encoding="utf-8"))["sha256"]
        return {str(path): str(digest) for path, digest in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


class Digests:
    """The SHA-256 of files below `root`, each computed once."""

    def __init__(self, root: Path):
        self.root = root
        self.known: dict[str, str | None] = {}

    def of(self, path: str) -> str | None:
        """The SHA-256 of the file; None where it does not exist."""
        if path not in self.known:
            place = self.root / path
            self.known[path] = sha256(place) if place.is_file() else None
        return self.known[path]

    def changed(self, files: dict[str, str]) -> list[str]:
        """The files of a record that are missing or differ from it."""
        return [path for path, digest in files.items() if self.of(path) != digest]
