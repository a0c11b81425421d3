"""A data set of your own, listed in a CSV with the columns image, label, reference and a line for each image.

Paths are absolute or relative to the folder of the CSV, by `paths.named_path`. The columns label and reference, and
each field in them, may be left out.
"""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from loopda.data.label_files import encoding_by_name
from loopda.data.layouts.layout import Layout, Palette
from loopda.data.lists import read_table, refuse_list_from_elsewhere, refuse_list_of_another_tree
from loopda.data.manifest import Row
from loopda.data.paths import existing, from_folder, named_path
from loopda.errors import ConfigError, DataError
from loopda.labels.classes import ClassList
from loopda.runtime.files import written

COLUMNS = ("image", "label", "reference")
_REMEDY = "`csv` must name a table with a line for each image"


class TableLayout(Layout):
    """Images in a CSV of your own: see `loopda.data.layouts.table`. encoding: what the values in its label files
    mean; `colours`: they show the colours of the class list. palette: `ignore` reads the numbers of label files whose
    palettes have the colours of other classes, which is a fault otherwise."""

    layout: Literal["table"]
    csv: Path
    encoding: str | None = None
    palette: Palette = "check"

    def rows(self, classes: ClassList, *, labelled: bool) -> list[Row]:
        """The rows of the CSV, in its order.

        Where `labelled`, the label files are read as `encoding`; without it, as the one kind of label file that the
        class list understands; where it understands several, the end of each file's name decides (`..._labelIds.png`,
        `..._labelTrainIds.png`). Where not `labelled`, they are named without an encoding, since nobody is to read
        them. DataError lists every line that is at fault; ConfigError where the class list does not understand
        `encoding`.
        """
        table, encoding = self.csv, self.encoding
        if encoding is not None:
            classes.encoding(encoding)
        lines, faults = read_table(table, ["image"], ["label", "reference"], remedy=_REMEDY)
        folder = _folder(table, [line["image"] for _, line in lines])
        found = []
        for number, line in lines:
            if not line["image"]:
                faults.append(f"{table}, line {number}: the field `image` is empty; complete or delete the line")
                continue
            try:
                image, label, reference = (named_path(line[name], folder) if line[name] else None for name in COLUMNS)
                kind = (encoding or encoding_by_name(label, classes)) if label and labelled else ""
            except ConfigError as error:
                faults.append(f"{table}, line {number}: {error}")
                continue
            found.append(Row(image, label, reference, kind))
        if faults:
            raise DataError("\n".join(faults))
        images = [line["image"] for _, line in lines]
        refuse_list_from_elsewhere(table, images, [row.image for row in found])
        for paths in ([row.image for row in found], [row.label for row in found if labelled and row.label]):
            refuse_list_of_another_tree(table, paths, "correct `csv`, or the paths in it")
        return found


def write_table(path: Path, rows: Iterable[Row]) -> None:
    """Write `rows` as the CSV `path`, atomically; None is an empty field.

    A relative path is written from the real folder of the CSV on, so that the project may move and may lie behind a
    link; an absolute one stays.
    """

    def field(file: Path | None) -> str:
        if file is None:
            return ""
        return str(file) if file.is_absolute() else from_folder(file, path.parent)

    _write(path, COLUMNS, [(field(row.image), field(row.label), field(row.reference)) for row in rows])


def write_oracle(path: Path, rows: Iterable[Row]) -> None:
    """Write the images of `rows` with their true labels as the CSV `path`, without a column of references.

    All paths are written from the real folder of the CSV on.
    """
    lines = [(from_folder(row.image, path.parent), from_folder(row.label, path.parent)) for row in rows]
    _write(path, COLUMNS[:2], lines)


def _write(path: Path, columns: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    with written(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        table.writerows(lines)


def _folder(table: Path, images: list[str]) -> Path:
    """The folder that relative paths in `table` start from: its own; where the table is a link, that of the file which
    it leads to, if the images are there alone."""
    here, there = table.parent, Path(table.resolve().parent)
    if table.is_symlink():
        found = [any(existing(folder / image).exists() for image in images if image) for folder in (here, there)]
        return there if found == [False, True] else here
    return here
