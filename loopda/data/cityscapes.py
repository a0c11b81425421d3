"""Cityscapes as it is downloaded: labelled images of German cities by day (Cordts et al., CVPR 2016).

<root>/leftImg8bit/<split>/<city>/<city>_<sequence>_<frame>_leftImg8bit.png
<root>/gtFine/<split>/<city>/<city>_<sequence>_<frame>_gtFine_labelIds.png   (or _labelTrainIds.png)
"""

from pathlib import Path

from loopda.data.manifest import Row
from loopda.errors import ConfigError, DataError
from loopda.labels.classes import ClassList

LABEL_KINDS = ("labelIds", "labelTrainIds")
"""The ends of label file names, as Cityscapes and Dark Zurich have them: each is the name of an encoding.

The name alone decides: train id 7 is a sign and label id 7 is road, and the pixels do not tell which was
meant. labelIds come first because they are what was published; labelTrainIds are made by the user's own
tools.
"""


def rows(root: Path, split: str, classes: ClassList, *, labelled: bool) -> list[Row]:
    """The images of one split (train, val, test), sorted by city and name.

    Where `labelled`, each row names its label map, the expected one when there is none (`check_rows` reports
    it); else only label maps that exist. DataError where `root` is no such tree, or the split has no image.
    """
    images = [
        image
        for image in sorted(Path(root, "leftImg8bit", split).glob("*/*_leftImg8bit.png"))
        if not image.name.startswith(".")  # what some archivers leave beside each file
    ]
    if not images:
        raise DataError(
            f"{Path(root, 'leftImg8bit', split)}: no <city>/*_leftImg8bit.png in it;"
            " `root` must be the folder that holds leftImg8bit/ and gtFine/"
        )
    found = []
    for image in images:
        stem = image.name.removesuffix("_leftImg8bit.png")
        label_stem = Path(root, "gtFine", split, image.parent.name, f"{stem}_gtFine")
        label, encoding = label_file(label_stem, classes, labelled=labelled)
        found.append(Row(image, label, encoding=encoding))
    return found


def label_file(stem: Path, classes: ClassList, *, labelled: bool) -> tuple[Path | None, str]:
    """The label map `<stem>_<kind>.png` and its encoding: the first of LABEL_KINDS that the class list
    understands.

    Without such a file: the first name to expect where `labelled`, else (None, ""). ConfigError where the
    class list understands none of them.
    """
    understood = [kind for kind in LABEL_KINDS if kind in classes.encodings]
    candidates = [(stem.with_name(f"{stem.name}_{kind}.png"), kind) for kind in understood]
    for path, kind in candidates:
        if path.exists():
            return path, kind
    if not labelled:
        return None, ""
    if not candidates:
        raise ConfigError(
            f"the class list understands label files of the kind {', '.join(classes.encodings)}, but this"
            f" layout holds {' or '.join(LABEL_KINDS)}; give the list `encoding: {LABEL_KINDS[0]}` and ids"
        )
    return candidates[0]
