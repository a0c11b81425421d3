"""What every layout is: where the images of a data set are, and a method that lists them."""

from typing import ClassVar, Literal

from loopda.config import Section
from loopda.data.manifest import Row
from loopda.labels.classes import ClassList

Split = Literal["train", "val", "test"]
Palette = Literal["check", "ignore"]


class Layout(Section):
    """Where the images of a data set are. Each layout has its keys here, and the name of its file as `layout`.

    remedy: what helps against faults of its files, whatever they are.
    """

    remedy: ClassVar[str] = ""

    def rows(self, classes: ClassList, *, labelled: bool) -> list[Row]:
        """The images with their labels and references, as the reader finds them; the files are not opened.

        Where `labelled`, each row names its label map, the expected one where there is none (`check_rows` reports it);
        else only label maps that exist.
        """
        raise NotImplementedError

    @property
    def states_encoding(self) -> bool:
        """Whether the user says what the values in the label files mean, rather than their names."""
        return getattr(self, "encoding", None) is not None

    @property
    def ignores_palettes(self) -> bool:
        """Whether the values in the label files count, whatever the colours of their palettes."""
        return getattr(self, "palette", "check") == "ignore"
