"""What a result was made of: beside the main file of each result lies <its name>.made.json, with the SHA-256 of every
file that its stage was given and of every file that it wrote.

Times of files change where a project is copied or fetched; by these records `loopda.vouch` and `loopda.status` tell
what is still what it was made of.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from loopda.runtime.files import sha256, write_json


def record_path(result: Path) -> Path:
    """Where the record of the main file `result` lies."""
    return result.with_name(f"{result.stem}.made.json")


def write_record(result: Path, files: Iterable[Path]) -> None:
    """Write the record of `result`, made of and with `files`; folders, and what is not there, are left out."""
    digests = {str(path): sha256(path) for path in dict.fromkeys(files) if path.is_file()}
    write_json(record_path(result), {"sha256": digests})


def read_record(result: Path) -> dict[str, str] | None:
    """Path -> SHA-256, as recorded of `result`; None where there is no record, or a damaged one."""
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
        """The SHA-256 of the file, or None where there is none."""
        if path not in self.known:
            place = self.root / path
            self.known[path] = sha256(place) if place.is_file() else None
        return self.known[path]

    def others(self, files: dict[str, str]) -> list[str]:
        """The files of a record that are not there, or no longer what they were."""
        return [path for path, digest in files.items() if self.of(path) != digest]
