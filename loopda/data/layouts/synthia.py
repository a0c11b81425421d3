"""SYNTHIA-RAND-CITYSCAPES, 9400 rendered street scenes with labels (Ros et al., CVPR 2016):

    <root>/RGB/<number>.png     <root>/GT/LABELS/<number>.png     (or <number>_labelTrainIds.png)

The label maps have three channels of 16 bits, the class id in the first (`labels.png.read_label`). Terrain, truck and
train never occur, so no model can learn them from here, and where they are in a validation set they count as 0 in its
mean. The literature therefore reports the mean of the other 16 classes, which workflow/config/synthia/classes.yaml
holds, and that of 13, without wall, fence and pole: the IoU per class stands in the scores.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from loopda.data.layouts import numbered
from loopda.data.manifest import Row
from loopda.labels.classes import SYNTHIA, ClassList


class SynthiaLayout(numbered.NumberedLayout):
    """Images in the folders of SYNTHIA-RAND-CITYSCAPES: see `loopda.data.layouts.synthia`. exclude: pairs to leave out,
    by their numbers as text."""

    layout: Literal["synthia"]

    def rows(self, classes: ClassList, *, labelled: bool) -> list[Row]:
        return rows(self.root, classes, labelled=labelled, exclude=self.exclude)


def rows(root: Path, classes: ClassList, *, labelled: bool, exclude: Sequence[str] = ()) -> list[Row]:
    """All pairs but those of the numbers in `exclude`, as in `numbered.rows`."""
    images, labels = Path(root, "RGB"), Path(root, "GT", "LABELS")
    return numbered.rows(images, labels, SYNTHIA, classes, labelled=labelled, exclude=exclude)
