"""GTA5, rendered street scenes by day with labels (Richter et al., ECCV 2016):

    <root>/images/<number>.png     <root>/labels/<number>.png     (or <number>_labelTrainIds.png)

The label maps are palette PNGs whose indices are label ids of Cityscapes; 34, the licence plate, is void, as is the
255 that -1 becomes in 8 bits. A copy converted to RGB has lost the indices and is refused. All 24966 pairs are taken,
as in this literature; a few of them do not fit together (15188, 17705 and some of 20801 .. 20860 are reported): the
check names them, and `exclude` leaves out those it names.
"""

from typing import ClassVar, Literal

from loopda.data.layouts.numbered import NumberedLayout


class Gta5Layout(NumberedLayout):
    """Images in the folders of GTA5: see `loopda.data.layouts.gta5`. exclude: pairs to leave out, by their numbers as
    text ("15188").
    """

    layout: Literal["gta5"]

    images_folder: ClassVar[str] = "images"
    labels_folder: ClassVar[str] = "labels"
    label_encoding: ClassVar[str] = "labelIds"
