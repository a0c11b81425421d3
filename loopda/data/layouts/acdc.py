"""ACDC as it is downloaded: images in adverse conditions, each with one of the same place in good conditions (Sakaridis
et al., ICCV 2021):

    <root>/rgb_anon/<condition>/<split>/<REC>/<REC>_frame_<n>_rgb_anon.png
    <root>/rgb_anon/<condition>/<split>_ref/<REC>/<REC>_frame_<n>_rgb_ref_anon.png
    <root>/gt/<condition>/<split>/<REC>/<REC>_frame_<n>_gt_labelIds.png
    (or _gt_labelTrainIds.png)

The condition night has 400 images to train, 106 to validate and 500 to test; the labels of test are not published.
DAFormer's copy of ACDC, with all recordings of a split in one folder, is not read here; `layout: folder` reads it.
"""

from pathlib import Path
from typing import Literal

from loopda.data.label_files import check_labels, label_file
from loopda.data.layouts.layout import Layout, Split
from loopda.data.listing import files, record_outside_splits, record_unused
from loopda.data.manifest import Row
from loopda.data.paths import existing
from loopda.data.skipped import nothing_found
from loopda.labels.classes import ClassList

_IMAGE, _REFERENCE = "_rgb_anon.png", "_rgb_ref_anon.png"


class AcdcLayout(Layout):
    """Images in the folders of ACDC: see `loopda.data.layouts.acdc`."""

    layout: Literal["acdc"]
    root: Path
    split: Split
    condition: Literal["night", "fog", "rain", "snow"] = "night"

    def rows(self, classes: ClassList, *, labelled: bool) -> list[Row]:
        """The images of one split in one condition, sorted by recording and name.

        Each names its reference, whether or not the file exists (`check_rows` reports a missing one), unless there is
        no folder of references at all. DataError where the split has no image.
        """
        folder = Path(self.root, "rgb_anon", self.condition, self.split)
        images = files(folder, f"*/*{_IMAGE}")
        if not images:
            raise nothing_found(
                f"{folder}: no <recording>/*{_IMAGE} in it; `root` must be the folder that holds rgb_anon/ and gt/"
            )
        record_outside_splits(folder.parent, ("train", "val", "test", "train_ref", "val_ref", "test_ref"))
        references = folder.with_name(f"{self.split}_ref")
        labels = Path(self.root, "gt", self.condition, self.split)
        found = []
        for image in images:
            recording, stem = image.parent.name, image.stem.removesuffix(Path(_IMAGE).stem)
            reference = existing(references / recording / f"{stem}{_REFERENCE}") if references.is_dir() else None
            label_stem = labels / recording / f"{stem}_gt"
            label, encoding = label_file(label_stem, classes, labelled=labelled)
            found.append(Row(image, label, reference, encoding))
        if labelled:
            remedy = "unpack gt_trainval.zip into `root`"
            if self.split == "test":
                remedy = "the labels of the test images are not public: measure on `split: val`"
            check_labels([row.label for row in found], labels, "*/*_gt", remedy)
        used = [row.reference for row in found if row.reference]
        record_unused("references without an image", references, f"*/*{_REFERENCE}", used)
        return found
