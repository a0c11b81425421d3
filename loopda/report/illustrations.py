"""What the stage `illustrate` drew and counted: illustrations.json."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from loopda.runtime.json_files import JsonFile, JsonPart, read_json


class Panel(JsonPart):
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


class Overlap(JsonPart):
    """The label overlap ratio of a night image and its day reference, and the label that is chosen by it.

    metres: the true distance between the two cameras, known on the built-in town alone.
    """

    night: str
    lor: Annotated[float, Field(ge=0, le=1)]
    chosen: str
    metres: float | None = None


class Threshold(JsonPart):
    """The offline pseudo-labels of a class: its threshold, and how many of its predicted pixels are kept."""

    threshold: float
    predicted: int
    kept: int

    @model_validator(mode="after")
    def _keeps_a_part(self) -> "Threshold":
        if not 0 <= self.kept <= self.predicted:
            raise ValueError(f"{self.kept} pixels kept of {self.predicted} predicted")
        return self


class Illustrations(JsonFile):
    """An illustrations.json: pictures, and the statistics of the pseudo-labels."""

    seed: int
    panels: list[Panel] = Field(default_factory=list)
    lor: list[Overlap] = Field(default_factory=list)
    tau: float | None = None
    thresholds: dict[str, Threshold] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)


def read_illustrations(path: Path) -> Illustrations:
    """Read an illustrations.json. `find` resolves the relative paths of its pictures."""
    return read_json(path, Illustrations, "run the stage that wrote it again")
