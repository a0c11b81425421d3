"""The manifest: one CSV row for each image of a data set, with its label map and its day reference.

The one module that writes and reads manifests. A manifest that exists has been checked (`loopda.data.checks`): every
file in it was decoded to its end, so that training does not meet a damaged one in its third hour.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from loopda.data.lists import read_table
from loopda.errors import DataError
from loopda.labels.png import read_image
from loopda.runtime.files import sha256, written

COLUMNS = ("image", "label", "reference", "encoding", "width", "height", "content")

_REMEDY = "run the stage `prepare` again"


@dataclass(frozen=True)
class Row:
    """One image of a data set. Paths are absolute or relative to the working directory.

    image: a photograph. label: its map of raw ids, or None. reference: the day image of about the same place,
    or None. encoding: how the raw ids become class indices (a name known to the ClassList); "" without a
    label. width, height: of the upright image in its file, in pixels; 0 until `check_rows` has opened it.
    content: digests of the bytes of image, label and reference, so that other pixels make another manifest, and a
    picture under two names is found; "" until then.
    """

    image: Path
    label: Path | None = None
    reference: Path | None = None
    encoding: str = ""
    width: int = 0
    height: int = 0
    content: str = ""

    @property
    def image_content(self) -> str:
        """The digest of the image's file; "" until `check_rows` has opened it."""
        return self.content.partition(":")[0]

    @property
    def label_content(self) -> str:
        """The digest of the label's file; "" where there is none, or until `check_rows` has opened it."""
        return self.content.split(":")[1] if self.label else ""

    @property
    def reference_content(self) -> str:
        """The digest of the reference's file; "" where there is none, or until `check_rows` has opened it."""
        return self.content.rpartition(":")[2]


def write_manifest(path: Path, rows: Iterable[Row]) -> None:
    """Write `rows` as the CSV `path`, atomically; None is an empty field."""
    with written(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for row in rows:
            label, reference = row.label or "", row.reference or ""
            table.writerow([row.image, label, reference, row.encoding, row.width, row.height, row.content])


def read_manifest(path: Path, *, empty: bool = False) -> list[Row]:
    """The rows of a manifest, in file order; DataError where it is missing, damaged or, unless it may be `empty`,
    without a row."""
    lines, faults = read_table(path, COLUMNS, remedy=_REMEDY, empty=empty)
    rows = []
    for number, line in lines:
        try:
            rows.append(_row(line))
        except ValueError as error:
            faults.append(f"{path}, line {number}: {error}; {_REMEDY}")
    if faults:
        raise DataError("\n".join(faults))
    return rows


def _row(line: dict[str, str]) -> Row:
    width, height = int(line["width"]), int(line["height"])
    if not line["image"] or width <= 0 or height <= 0 or bool(line["label"]) != bool(line["encoding"]):
        raise ValueError("not a row that `prepare` writes")
    label = Path(line["label"]) if line["label"] else None
    reference = Path(line["reference"]) if line["reference"] else None
    return Row(Path(line["image"]), label, reference, line["encoding"], width, height, line["content"])


def with_reference(row: Row, reference: Path | None) -> Row:
    """A checked row with another reference, or none, and the digest that goes with it."""
    changed = replace(row, reference=reference)
    return replace(changed, content=_digest(changed))


def with_image(row: Row, image: Path) -> Row:
    """A checked row with another image, such as a translation of its own; the label map stays as it is."""
    width, height = read_image(image).size
    changed = replace(row, image=image, width=width, height=height)
    return replace(changed, content=_digest(changed))


def _digest(row: Row) -> str:
    """The digests of the row's files, joined by colons; "" in the place of a missing file."""
    return ":".join(file_digest(path) for path in (row.image, row.label, row.reference))


def file_digest(path: Path | None) -> str:
    """16 hexadecimal digits of the SHA-256 of a file; "" where there is no file."""
    return sha256(path)[:16] if path is not None and path.is_file() else ""
