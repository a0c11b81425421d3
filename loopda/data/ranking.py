"""The file ranking.json of the stage `pair`: the day images that are most like each night image, by label overlap.

Written and read here alone.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from loopda.errors import DataError
from loopda.runtime.files import write_json


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())


class RankedDay(_Part):
    """A day image, and the label overlap ratio of its prediction with that of the night image."""

    day: str
    lor: Annotated[float, Field(ge=0, le=1)]


class RankedNight(_Part):
    """A night image and its best day images, the best of them first."""

    night: str
    best: Annotated[list[RankedDay], Field(min_length=1)]


class PairRanking(_Part):
    """For each night image the day images that are most like it. Images are named as in their manifests.

    overlap: whose ratios they are, as `pair.overlap` names it. tau: the ratio from which on a pair is kept. candidates:
    how many day images there are in all. read_from: the path of the file, where it was read from one.
    """

    overlap: str
    tau: float
    candidates: int
    images: list[RankedNight]
    read_from: Path = Path()

    def reaching_tau(self) -> int:
        """How many night images have a day image whose ratio reaches tau, in single precision as `pair` compares."""
        return sum(np.float32(image.best[0].lor) >= np.float32(self.tau) for image in self.images)


def write_ranking(path: Path, ranking: PairRanking) -> None:
    """Write ranking.json, atomically."""
    write_json(path, ranking.model_dump(exclude={"read_from"}))


def read_ranking(path: Path) -> PairRanking:
    """Read ranking.json; DataError, with a line for each fault, where it is missing or another file."""
    remedy = "run the stage `pair` again"
    try:
        text = path.read_text(encoding="utf-8")
        return PairRanking.model_validate_json(text).model_copy(update={"read_from": path})
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; {remedy}") from None
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise DataError(f"{path}: not a text file ({error}); {remedy}") from None
    except ValidationError as error:
        faults = [
            f"{path}: {'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}; {remedy}"
            for fault in error.errors()
        ]
        raise DataError("\n".join(faults)) from None
