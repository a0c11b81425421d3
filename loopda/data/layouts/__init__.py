"""The layouts that the section `data` knows: what each is told, and the reader that it calls."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from loopda.config import Section
from loopda.data import table
from loopda.data.layouts import acdc, bdd100k_night, cityscapes, dark_zurich, folder, gta5, nighttime_driving, synthia
from loopda.data.manifest import Row
from loopda.labels.classes import ClassList

Split = Literal["train", "val", "test"]
Palette = Literal["check", "ignore"]


class Layout(Section):
    """Where the images of a data set are. remedy: what helps against faults of its files, whatever they are.

    Each layout has a method `rows`: the images with their labels and references, as its reader finds them, unopened.
    Where `labelled`, each row names a label map.
    """

    remedy: ClassVar[str] = ""

    @property
    def states_encoding(self) -> bool:
        """Whether the user says what the values in the label files mean, rather than their names."""
        return getattr(self, "encoding", None) is not None

    @property
    def ignores_palettes(self) -> bool:
        """Whether the values in the label files count, whatever the colours of their palettes."""
        return getattr(self, "palette", "check") == "ignore"


class CityscapesLayout(Layout):
    """Images in the folders of Cityscapes: see `loopda.data.layouts.cityscapes`."""

    layout: Literal["cityscapes"]
    root: Path
    split: Split

    def rows(self, classes: ClassList, *, labelled: bool) -> list[Row]:
        return cityscapes.rows(self.root, self.split, classes, labelled=labelled)


class DarkZurichLayout(Layout):
    """Images in the folders of Dark Zurich: see `loopda.data.layouts.dark_zurich`. pairs: the pair list of the split
    train."""

    layout: Literal["dark_zurich"]
    root: Path
    split: Split
    pairs: Path | None = None

    def rows(self, classes: ClassList, *, labelled: bool) -> list[Row]:
        return dark_zurich.rows(self.root, self.split, classes, labelled=labelled, pairs=self.pairs)


class NighttimeDrivingLayout(Layout):
    """Images in the folders of Nighttime Driving: see nighttime_driving.py. names: a list of its images."""

    layout: Literal["nighttime_driving"]
    root: Path
    names: Path | None = None

    def rows(self, classes: ClassList, *, labelled: bool) -> list[Row]:
        return nighttime_driving.rows(self.root, classes, labelled=labelled, names=self.names)


class AcdcLayout(Layout):
    """Images in the folders of ACDC: see `loopda.data.layouts.acdc`."""

    layout: Literal["acdc"]
    root: Path
    split: Split
    condition: Literal["night", "fog", "rain", "snow"] = "night"

    def rows(self, classes: ClassList, *, labelled: bool) -> list[Row]:
        return acdc.rows(self.root, self.split, classes, labelled=labelled, condition=self.condition)


class Bdd100kNightLayout(Layout):
    """Images in the folders of BDD100K: see `loopda.data.layouts.bdd100k_night`. names: which of them show night."""

    layout: Literal["bdd100k_night"]
    root: Path
    names: Path

    def rows(self, classes: ClassList, *, labelled: bool) -> list[Row]:
        return bdd100k_night.rows(self.root, self.names, classes, labelled=labelled)


class _NumberedLayout(Layout):
    """exclude: pairs to leave out, by their numbers as text ("15188")."""

    root: Path
    exclude: tuple[str, ...] = ()

    remedy: ClassVar[str] = "a pair that cannot be mended can be left out: name its number in `exclude`"


class Gta5Layout(_NumberedLayout):
    """Images in the folders of GTA5 (gta5.py). exclude: pairs to leave out, by their numbers as
    text ("15188").
    """

    layout: Literal["gta5"]

    def rows(self, classes: ClassList, *, labelled: bool) -> list[Row]:
        return gta5.rows(self.root, classes, labelled=labelled, exclude=self.exclude)


class SynthiaLayout(_NumberedLayout):
    """Images in the folders of SYNTHIA-RAND-CITYSCAPES: see `loopda.data.layouts.synthia`. exclude: as in GTA5's."""

    layout: Literal["synthia"]

    def rows(self, classes: ClassList, *, labelled: bool) -> list[Row]:
        return synthia.rows(self.root, classes, labelled=labelled, exclude=self.exclude)


class TableLayout(Layout):
    """Images in a CSV of your own: see `loopda.data.table`. encoding: what the values in its label files
    mean; `colours`: they show the colours of the class list. palette: `ignore` reads the numbers of label files whose
    palettes have the colours of other classes, which is a fault otherwise."""

    layout: Literal["table"]
    csv: Path
    encoding: str | None = None
    palette: Palette = "check"

    def rows(self, classes: ClassList, *, labelled: bool) -> list[Row]:
        return table.rows(self.csv, classes, labelled=labelled, encoding=self.encoding)


_Pattern = Annotated[str, Field(pattern=folder.PATTERN, description=folder.IS_PATTERN)]


class FolderLayout(Layout):
    """Images of your own in folders: see `loopda.data.layouts.folder`. images: a glob below `root`. labels, references:
    paths below it with {stem} in them. encoding, palette: as in a table."""

    layout: Literal["folder"]
    root: Path
    images: Annotated[str, Field(pattern=folder.GLOB, description=folder.IS_GLOB)]
    labels: _Pattern | None = None
    references: _Pattern | None = None
    encoding: str | None = None
    palette: Palette = "check"

    def rows(self, classes: ClassList, *, labelled: bool) -> list[Row]:
        return folder.rows(
            self.root,
            self.images,
            classes,
            labelled=labelled,
            labels=self.labels,
            references=self.references,
            encoding=self.encoding,
        )


DataSet = Annotated[
    CityscapesLayout
    | DarkZurichLayout
    | NighttimeDrivingLayout
    | AcdcLayout
    | Bdd100kNightLayout
    | Gta5Layout
    | SynthiaLayout
    | TableLayout
    | FolderLayout,
    Field(discriminator="layout"),
]
