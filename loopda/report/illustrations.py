"""What stages drew and counted on the way to a model: illustrations.json of `illustrate`, ranking.json of `pair`."""

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from loopda.report.inputs import File, Written, read_json


class Panel(Written):
    """A block of pictures: `rows` of paths, one per column."""

    title: str
    caption: str = ""
    columns: list[str]
    rows: list[list[str]]

    @model_validator(mode="after")
    def _rows_fill_their_columns(self) -> "Panel":
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"panel {self.title!r}: a row has not as many pictures as there are columns")
        return self


class Overlap(Written):
    """The label overlap ratio of a night image and its day reference, and which label set it chose.

    metres: the true distance between the two cameras, known on the built-in town alone.
    """

    night: str
    lor: Annotated[float, Field(ge=0, le=1)]
    chosen: str
    metres: float | None = None


class Threshold(Written):
    """Offline pseudo-labels of one class: its threshold, pixels predicted as it, pixels kept."""

    threshold: float
    predicted: int
    kept: int

    @model_validator(mode="after")
    def _keeps_a_part(self) -> "Threshold":
        if not 0 <= self.kept <= self.predicted:
            raise ValueError(f"{self.kept} pixels kept of {self.predicted} predicted")
        return self


class Illustrations(File):
    """One illustrations.json: pictures for people and the facts that belong to them."""

    seed: int
    panels: list[Panel] = Field(default_factory=list)
    lor: list[Overlap] = Field(default_factory=list)
    tau: float | None = None
    thresholds: dict[str, Threshold] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)


class Candidate(Written):
    """A day image and the label overlap ratio of its prediction with a night image's."""

    day: str
    lor: Annotated[float, Field(ge=0, le=1)]


class Ranked(Written):
    """A night image and its best day images, the best of them first."""

    night: str
    best: Annotated[list[Candidate], Field(min_length=1)]


class PairRanking(File):
    """The ranking.json of `pair`: for each night image the day images that are most like it, of so many `candidates`.

    overlap: whose ratios they are, as `pair.overlap` names it.
    """

    overlap: str
    tau: float
    candidates: int
    images: list[Ranked]

    def reaching_tau(self) -> int:
        """How many night images have a day image whose ratio reaches tau, in single precision as `pair` compares."""
        return sum(np.float32(one.best[0].lor) >= np.float32(self.tau) for one in self.images)


def read_illustrations(path: Path) -> Illustrations:
    """Read an illustrations.json; its relative picture paths are resolved by `find`."""
    return read_json(path, Illustrations, "run the stage that wrote it again")


def read_ranking(path: Path) -> PairRanking:
    """Read the ranking.json of `pair`."""
    return read_json(path, PairRanking, "run the stage `pair` again")
