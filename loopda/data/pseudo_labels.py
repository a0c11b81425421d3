"""The files of the stage `pseudo_labels`: labels.csv names the label map of each image, statistics.json says how many
pixels of each class were kept. Both are written and read here alone.
"""

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loopda.data.dataset import Size, resize_label
from loopda.errors import DataError
from loopda.labels.png import read_label
from loopda.runtime.files import sha256, write_json, written
from loopda.runtime.signals import interruptible

DIGEST_BYTES = 8  # of a label map's SHA-256 in labels.csv


class PseudoLabel(NamedTuple):
    """One line of labels.csv.

    domain: night, or day for a day reference. image: the path that the manifest of the night images names. label: its
    map of class indices. content: the first DIGEST_BYTES of the SHA-256 of the label's file, in hexadecimal.
    """

    domain: str
    image: Path
    label: Path
    content: str


class PseudoLabels(NamedTuple):
    """Offline label maps (H, W) of class indices at the size of the frames, by image path."""

    night: dict[Path, NDArray[np.uint8]]
    reference: dict[Path, NDArray[np.uint8]]


class ClassStatistics(NamedTuple):
    """Of one class in one domain: its threshold of the confidence, pixels predicted as it, pixels kept."""

    threshold: float
    predicted: int
    kept: int


def write_label_table(path: Path, labels: Iterable[PseudoLabel]) -> None:
    """Write labels.csv, atomically."""
    with written(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(PseudoLabel._fields)
        table.writerows(labels)


def read_label_table(path: Path) -> list[PseudoLabel]:
    """Read labels.csv; DataError where it is missing or another table."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return [
                PseudoLabel(row["domain"], Path(row["image"]), Path(row["label"]), row["content"])
                for row in csv.DictReader(file)
            ]
    except (OSError, KeyError) as error:
        raise _not_a_table(path, error) from None


def read_pseudo_labels(path: Path, size: Size) -> PseudoLabels:
    """Read labels.csv and its label maps, at `size` (width, height).

    DataError where it is missing or another table, or a label map has changed since it was written.
    """
    found: dict[str, dict[Path, NDArray[np.uint8]]] = {"night": {}, "day": {}}
    try:
        for entry in interruptible(read_label_table(path)):
            if sha256(entry.label)[: 2 * DIGEST_BYTES] != entry.content:
                raise DataError(f"{entry.label}: not as it was when {path} was written; run pseudo_labels again")
            found[entry.domain][entry.image] = resize_label(read_label(entry.label), size)
    except (OSError, KeyError) as error:
        raise _not_a_table(path, error) from None
    return PseudoLabels(found["night"], found["day"])


def _not_a_table(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: not a manifest of pseudo-labels ({error}); run that stage again")


def write_statistics(path: Path, statistics: Mapping[str, Mapping[str, ClassStatistics]]) -> None:
    """Write statistics.json, atomically: by domain (night, day) and class."""
    write_json(
        path,
        {
            domain: {name: of_class._asdict() for name, of_class in classes.items()}
            for domain, classes in statistics.items()
        },
    )


def read_statistics(path: Path) -> dict[str, dict[str, ClassStatistics]]:
    """Read statistics.json; DataError where it is missing or another file."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return {
            domain: {name: ClassStatistics(**of_class) for name, of_class in classes.items()}
            for domain, classes in values.items()
        }
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not the statistics of pseudo-labels ({error}); run that stage again") from None
