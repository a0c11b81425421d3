"""The file poses.csv of the stage `town`: how far apart the cameras of a night image and its day reference stand.

Only the built-in town knows it. Written and read here alone.
"""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from loopda.errors import DataError
from loopda.runtime.files import write_text


class PairDistance(NamedTuple):
    """One line of poses.csv. night, reference: images, below the folder of the town. metres, degrees: between the two
    cameras."""

    night: Path
    reference: Path
    metres: float
    degrees: float


def write_poses(path: Path, pairs: Iterable[PairDistance]) -> None:
    """Write poses.csv, atomically, with three decimals."""
    lines = [f"{pair.night},{pair.reference},{pair.metres:.3f},{pair.degrees:.3f}\n" for pair in pairs]
    write_text(path, "".join([",".join(PairDistance._fields) + "\n", *lines]))


def read_poses(path: Path) -> list[PairDistance]:
    """Read poses.csv; DataError where it is missing or another table."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return [
                PairDistance(Path(row["night"]), Path(row["reference"]), float(row["metres"]), float(row["degrees"]))
                for row in csv.DictReader(file)
            ]
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path}: not the poses of the town ({error}); run the stage `town` again") from None
