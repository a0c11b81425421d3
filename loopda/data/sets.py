"""A data set after its check: its rows, and the counts for a summary of it.

found.json is written and read here alone.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from loopda.data.checks import Checked, check_rows
from loopda.data.layouts import DataSet
from loopda.data.manifest import Row, read_manifest, write_manifest
from loopda.data.skipped import collect_skipped
from loopda.errors import DataError
from loopda.labels.classes import ClassList
from loopda.runtime.files import sha256, write_json

UNLABELLED = ("night", "day")
"""The data sets whose labels stay hidden: the methods must not see them. In all others each image needs a label."""


@dataclass(frozen=True)
class CheckedSet:
    """A data set after its check.

    hidden: label maps that exist, but were taken out of its rows unread. skipped: what else lies there, a line for each
    cause (`loopda.data.skipped`).
    """

    checked: Checked
    hidden: int
    skipped: Sequence[str] = ()

    def write(self, *, manifest: Path, references: Path, found: Path) -> None:
        """Write the manifest of the images, one of their different day references, and the counts (JSON), which come
        last and name both with their SHA-256."""
        write_manifest(manifest, self.checked.rows)
        write_manifest(references, self.checked.references)
        write_json(
            found,
            {
                "manifest": manifest_entry(manifest),
                "references": manifest_entry(references),
                "pixels": self.checked.pixels.tolist(),
                "ignored": self.checked.ignored,
                "hidden": self.hidden,
                "notes": self.checked.notes,
                "left_out": list(self.skipped),
            },
        )


def check_set(layout: DataSet, classes: ClassList, *, labelled: bool, workers: int | None = None) -> CheckedSet:
    """Open and check each file of the data set at `layout`; where not `labelled`, without its labels."""
    with collect_skipped() as skipped:
        rows = layout.rows(classes, labelled=labelled)
    hidden = 0
    if not labelled:
        hidden = sum(row.label is not None for row in rows)
        rows = without_labels(rows)
    checked = check_rows(
        rows,
        classes,
        labelled=labelled,
        stated=layout.states_encoding,
        ignore_palettes=layout.ignores_palettes,
        workers=workers,
    )
    if checked.faults and layout.remedy:
        checked.faults.append(layout.remedy)
    return CheckedSet(checked, hidden, skipped.lines())


def read_checked_set(path: Path) -> CheckedSet:
    """Read found.json and its manifests; DataError where one is missing, damaged, or another than it names."""
    remedy = "run the stage `manifest` again"
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
        for role in ("manifest", "references"):
            file = values[role]
            if manifest_entry(Path(file["manifest"])) != file:
                raise DataError(f"{file['manifest']}: not the manifest that {path} was written with; {remedy}")
        return CheckedSet(
            Checked(
                rows=read_manifest(Path(values["manifest"]["manifest"])),
                references=read_manifest(Path(values["references"]["manifest"]), empty=True),
                faults=[],
                pixels=np.array(values["pixels"], dtype=np.int64),
                ignored=int(values["ignored"]),
                notes=[str(note) for note in values["notes"]],
            ),
            int(values["hidden"]),
            list(values["left_out"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a set that was checked ({error}); {remedy}") from None


def without_labels(rows: Sequence[Row]) -> list[Row]:
    """The rows with no label map."""
    return [replace(row, label=None, encoding="") for row in rows]


def candidates(night: CheckedSet, source: CheckedSet, day: CheckedSet | None) -> list[Row]:
    """The day images among which `pair` looks for references, without labels: those of the set `day`, else the night's
    different day references, else the labelled day."""
    if day is not None:
        return day.checked.rows
    return night.checked.references or without_labels(source.checked.rows)


def manifest_entry(manifest: Path) -> dict[str, str]:
    """Where a manifest is, and the SHA-256 of its content."""
    return {"manifest": str(manifest), "sha256": sha256(manifest)}


def statistics(data_set: CheckedSet, classes: ClassList) -> dict[str, object]:
    """What the summary says of one data set.

    frequency: of each class among the labelled pixels, 0 .. 1; null for a set without labels. ignored: the
    share of pixels without a class. sizes: images of each size of file.
    """
    rows, pixels = data_set.checked.rows, data_set.checked.pixels
    labelled = int(pixels.sum())
    sizes = Counter(f"{row.width}x{row.height}" for row in rows)
    return {
        "images": len(rows),
        "labelled": sum(row.label is not None for row in rows),
        "with_reference": sum(row.reference is not None for row in rows),
        "references": len({row.reference for row in rows if row.reference}),
        "hidden": data_set.hidden,
        "sizes": dict(sorted(sizes.items())),
        "frequency": {name: count / labelled for name, count in zip(classes.names, pixels.tolist(), strict=True)}
        if labelled
        else None,
        "ignored": data_set.checked.ignored / (data_set.checked.ignored + labelled) if labelled else None,
        "absent": absent(data_set, classes) if labelled else None,
    }


def absent(data_set: CheckedSet, classes: ClassList) -> list[str]:
    """The classes without a pixel in the labels of the data set."""
    return [name for name, count in zip(classes.names, data_set.checked.pixels, strict=True) if count == 0]
