"""Nighttime Driving as it is downloaded: 50 coarsely labelled night images to measure on (Dai, Van Gool, ITSC 2018).

    <root>/leftImg8bit/test/night/<recording>_frame_<n>_leftImg8bit.png
    <root>/gtCoarse_daytime_trainvaltest/test/night/<recording>_frame_<n>_gtCoarse_labelIds.png
    (or _gtCoarse_labelTrainIds.png)

About half of the pixels are void, and terrain and motorcycle never occur: a class that is neither in the labels nor
predicted is left out of the mean, and a class that is predicted but absent counts as 0 (`evaluation.scores`). labelIds
are read first: there are corrected labels (of CIConv) whose labelTrainIds are still the old ones.
"""

from pathlib import Path
from typing import Literal

from loopda.data.label_files import check_labels, label_file
from loopda.data.layouts.layout import Layout
from loopda.data.listing import files, record_unused
from loopda.data.lists import read_names, refuse_list_of_another_tree
from loopda.data.manifest import Row
from loopda.data.paths import existing
from loopda.data.skipped import nothing_found
from loopda.errors import DataError
from loopda.labels.classes import ClassList

_IMAGE = "_leftImg8bit.png"


class NighttimeDrivingLayout(Layout):
    """Images in the folders of Nighttime Driving: see `loopda.data.layouts.nighttime_driving`. names: a list of its
    images."""

    layout: Literal["nighttime_driving"]
    root: Path
    names: Path | None = None

    def rows(self, classes: ClassList, *, labelled: bool) -> list[Row]:
        """The images of the one split: those of the list `names`, in its order, or all, sorted by name.

        An image that the list repeats is taken once: LoopDA's nd_val.txt names each image twice. DataError where the
        folder has no image, or a line names none, or most of the list is not there.
        """
        folder = Path(self.root, "leftImg8bit", "test", "night")
        images = _named(folder, self.names) if self.names else files(folder, f"*{_IMAGE}")
        if not images:
            raise nothing_found(
                f"{folder}: no *{_IMAGE} in it; `root` must be the folder that holds leftImg8bit/ and"
                " gtCoarse_daytime_trainvaltest/"
            )
        labels = Path(self.root, "gtCoarse_daytime_trainvaltest", "test", "night")
        found = []
        for image in images:
            stem = labels / f"{image.stem.removesuffix(Path(_IMAGE).stem)}_gtCoarse"
            label, encoding = label_file(stem, classes, labelled=labelled)
            found.append(Row(image, label, encoding=encoding))
        if labelled:
            remedy = "unpack NighttimeDrivingTest.zip into `root`"
            check_labels([row.label for row in found], labels, "*_gtCoarse", remedy)
        return found


def _named(folder: Path, names: Path) -> list[Path]:
    lines = read_names(names)
    faults = [
        f"{names}, line {number}: {name!r} does not end in {_IMAGE}; name an image, or delete the line"
        for number, name in lines
        if not name.lower().endswith(_IMAGE.lower())
    ]
    if faults:
        raise DataError("\n".join(faults))
    images = list(dict.fromkeys(existing(folder / Path(name).name) for _, name in lines))
    refuse_list_of_another_tree(names, images, "correct `names` or `root`")
    record_unused(f"not named by {names.name}", folder, f"*{_IMAGE}", images)
    return images
