"""The file ranking.json of the stage `pair`: the day images that are most like each night image, by label overlap.

Written and read here alone.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from loopda.runtime.files import write_json
from loopda.runtime.json_files import JsonFile, JsonPart, read_json


class RankedDay(JsonPart):
    """A day image, and the label overlap ratio of its prediction with that of the night image."""

    day: str
    lor: Annotated[float, Field(ge=0, le=1)]


class RankedNight(JsonPart):
    """A night image and its best day images, the best of them first."""

    night: str
    best: Annotated[list[RankedDay], Field(min_length=1)]


class PairRanking(JsonFile):
    """For each night image the day images that are most like it. Images are named as in their manifests.

    overlap: whose ratios they are, as `pair.overlap` names it. tau: the ratio from which on a pair is kept. candidates:
    how many day images there are in all.
    """

    overlap: str
    tau: float
    candidates: int
    images: list[RankedNight]

    def reaching_tau(self) -> int:
        """How many night images have a day image whose ratio reaches tau, in single precision as `pair` compares."""
        return sum(np.float32(image.best[0].lor) >= np.float32(self.tau) for image in self.images)


def write_ranking(path: Path, ranking: PairRanking) -> None:
    """Write ranking.json, atomically."""
    write_json(path, ranking.model_dump(exclude={"read_from"}))


def read_ranking(path: Path) -> PairRanking:
    """Read ranking.json; DataError, with a line for each fault, where it is missing or another file."""
    return read_json(path, PairRanking, "run the stage `pair` again")
