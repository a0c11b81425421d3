"""SYNTHIA-RAND-CITYSCAPES, 9400 rendered street scenes with labels (Ros et al., CVPR 2016):

    <root>/RGB/<number>.png     <root>/GT/LABELS/<number>.png     (or <number>_labelTrainIds.png)

The label maps have three channels of 16 bits, the class id in the first (`labels.png.read_label`). Terrain, truck and
train never occur, so no model can learn them from here, and where they are in a validation set they count as 0 in its
mean. The literature therefore reports the mean of the other 16 classes, which workflow/config/synthia/classes.yaml
holds, and that of 13, without wall, fence and pole: the IoU per class stands in the scores.
"""

from typing import ClassVar, Literal

from loopda.data.layouts.numbered import NumberedLayout
from loopda.labels.classes import SYNTHIA


class SynthiaLayout(NumberedLayout):
    """Images in the folders of SYNTHIA-RAND-CITYSCAPES: see `loopda.data.layouts.synthia`. exclude: pairs to leave out,
    by their numbers as text."""

    layout: Literal["synthia"]

    images_folder: ClassVar[str] = "RGB"
    labels_folder: ClassVar[str] = "GT/LABELS"
    label_encoding: ClassVar[str] = SYNTHIA
