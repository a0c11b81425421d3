"""The record of the predictions in a folder, so that the same command predicts no image twice.

A JSON lines file. Its first line says what made the results: {"by": model, settings, version}. Each following line is
one image: {"name": ..., "image": absolute path, "content": digest, "files": {path below the folder: digest}}. A line is
added when the files of its image are on the disk, so that each line is true, however the process ends. Of two lines
with the same name the later one counts.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from loopda.data.images import Source
from loopda.data.listing import RECORD
from loopda.errors import DataError
from loopda.runtime.files import sha256, write_text


class PredictionRecords:
    """The records of `folder`.

    by: what makes the results, as JSON values. Records of another model or other settings are dropped, and so are lines
    that were cut off; their files stay until they are made again. DataError: the folder holds the result of a different
    image under the name of one of `sources`.
    """

    def __init__(self, folder: Path, *, by: Mapping[str, Any], sources: Iterable[Source]):
        self.folder = folder
        self.path = folder / RECORD
        before, images = _read(self.path)
        _refuse_other_images(images, sources, self.path)
        by = json.loads(json.dumps(by))  # as it is read from the file: tuples become lists
        self.images = images if before == {"by": by} else {}
        lines = [{"by": by}, *self.images.values()]
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in lines))

    def hold(self, source: Source, content: str, files: Iterable[Path]) -> bool:
        """Whether `files` are unchanged since they were made from an image with the digest `content`."""
        record = self.images.get(source.name)
        if record is None or record["content"] != content:
            return False
        made = record["files"]
        return all(made.get(self._key(file)) == digest(file) != "" for file in files)

    def files(self, sources: Iterable[Source]) -> set[Path]:
        """All recorded files of the images `sources`."""
        records = [self.images[source.name] for source in sources if source.name in self.images]
        return {self.folder / file for record in records for file in record["files"]}

    def add(self, source: Source, content: str, files: Mapping[Path, str]) -> None:
        """Record the finished `files` (with their digests) of an image, beside files made of the same bytes before."""
        before = self.images.get(source.name, {"content": None})
        made = before["files"] if before["content"] == content else {}
        made = made | {self._key(file): value for file, value in files.items()}
        record = {"name": source.name, "image": str(source.path), "content": content, "files": made}
        self.images[source.name] = record
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def _key(self, file: Path) -> str:
        return file.relative_to(self.folder).as_posix()


def digest(path: Path) -> str:
    """16 hexadecimal digits of the SHA-256 of a file, "" where it cannot be read."""
    try:
        return sha256(path)[:16]
    except OSError:
        return ""


def _read(path: Path) -> tuple[dict[str, Any] | None, dict[str, dict[str, Any]]]:
    """(first line, {name: record}); (None, {}) where there is no file yet."""
    if not path.exists():
        return None, {}
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break  # cut off when the process was killed or the disk was full
    head = lines[0] if lines else None
    return head, {line["name"]: line for line in lines[1:] if _is_of_an_image(line)}


def _is_of_an_image(line: object) -> bool:
    """Whether a line has the form that `PredictionRecords.add` writes. Other lines are ignored."""
    return (
        isinstance(line, dict)
        and {"name", "image", "content", "files"} <= line.keys()
        and isinstance(line["name"], str)
        and isinstance(line["files"], dict)
    )


def _refuse_other_images(records: Mapping[str, Mapping[str, Any]], sources: Iterable[Source], path: Path) -> None:
    faults = []
    for source in sources:
        record = records.get(source.name)
        if record and record["image"] != str(source.path) and record["content"] != digest(source.path):
            faults.append(
                f"{source.path}: {path.parent} already holds the results of {record['image']} under the name"
                f" {source.name}; choose another folder, or delete {path}"
            )
    if faults:
        raise DataError("\n".join(faults))
