"""Cityscapes as it is downloaded: labelled images of German cities by day (Cordts et al., CVPR 2016).

<root>/leftImg8bit/<split>/<city>/<city>_<sequence>_<frame>_leftImg8bit.png
<root>/gtFine/<split>/<city>/<city>_<sequence>_<frame>_gtFine_labelIds.png   (or _labelTrainIds.png)
"""

from pathlib import Path
from typing import Literal

from loopda.data.label_files import check_labels, label_file
from loopda.data.layouts.layout import Layout, Split
from loopda.data.listing import files, record_outside_splits
from loopda.data.manifest import Row
from loopda.data.skipped import nothing_found
from loopda.labels.classes import ClassList


class CityscapesLayout(Layout):
    """Images in the folders of Cityscapes: see `loopda.data.layouts.cityscapes`."""

    layout: Literal["cityscapes"]
    root: Path
    split: Split

    def rows(self, classes: ClassList, *, labelled: bool) -> list[Row]:
        """The images of one split, sorted by city and name.

        DataError where `root` is no such tree, or the split has no image, or no label map where they are needed.
        """
        folder, labels = self.root / "leftImg8bit" / self.split, self.root / "gtFine" / self.split
        images = files(folder, "*/*_leftImg8bit.png")
        if not images:
            raise nothing_found(
                f"{folder}: no <city>/*_leftImg8bit.png in it;"
                " `root` must be the folder that holds leftImg8bit/ and gtFine/"
            )
        record_outside_splits(folder.parent, ("train", "val", "test", "train_extra", "demoVideo"))
        found = []
        for image in images:
            stem = image.stem.removesuffix("_leftImg8bit")
            label_stem = labels / image.parent.name / f"{stem}_gtFine"
            label, encoding = label_file(label_stem, classes, labelled=labelled)
            found.append(Row(image, label, encoding=encoding))
        if labelled:
            remedy = "unpack gtFine_trainvaltest.zip into `root`"
            if self.split == "test":
                remedy = "the labels of the test images are not public: measure on `split: val`"
            check_labels([row.label for row in found], labels, "*/*_gtFine", remedy)
        return found
