"""What GTA5 and SYNTHIA have in common: numbered images in one folder, their label maps in another."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from loopda.data.label_files import first_label
from loopda.data.layouts.layout import Layout
from loopda.data.listing import files
from loopda.data.manifest import Row
from loopda.data.paths import existing
from loopda.data.skipped import collect_skipped, record_skipped, with_skipped
from loopda.errors import ConfigError, DataError
from loopda.labels.classes import ClassList
from loopda.text.names import SHOWN, examples

_TRAIN_IDS = "_labelTrainIds"


class NumberedLayout(Layout):
    """The keys that GTA5 and SYNTHIA share. exclude: pairs to leave out, by their numbers as text ("15188")."""

    root: Path
    exclude: tuple[str, ...] = ()

    remedy: ClassVar[str] = "a pair that cannot be corrected can be left out: name its number in `exclude`"


def rows(
    images: Path, labels: Path, encoding: str, classes: ClassList, *, labelled: bool, exclude: Sequence[str] = ()
) -> list[Row]:
    """The pairs `images`/<number>.png and `labels`/<number>.png, sorted by number.

    The label maps are read as `encoding`; where only <number>_labelTrainIds.png exists (DAFormer makes such), as that.
    Where `labelled`, half a pair is a row too, with the missing file's name in it: `check_rows` reports it. exclude:
    numbers to leave out. DataError where there are no images, or none is left; ConfigError where `exclude` names a pair
    that is not there.
    """
    of_images = {path.stem for path in files(images, "*.png")}
    if not of_images:
        raise DataError(
            with_skipped(
                f"{images}: no <number>.png in it; `root` must be the folder that holds {images.name}/ beside its"
                " labels"
            )
        )
    with collect_skipped():  # what lies beside label maps is no image
        of_labels = {path.stem.removesuffix(_TRAIN_IDS): path for path in files(labels, "*.png")}
    numbers = of_images
    if labelled:
        numbers = of_images | of_labels.keys()
        expected = [labels / f"{number}.png" for number in sorted(of_images)]
        if len(of_images) > SHOWN and not of_images & of_labels.keys():
            raise DataError(
                f"{labels}: none of the {len(expected)} label maps is there, such as {examples(expected)};"
                " unpack the labels into `root`"
            )
    else:
        record_skipped(
            "label maps without an image", *(path for number, path in of_labels.items() if number not in of_images)
        )
    unknown = [number for number in exclude if number not in numbers]
    if unknown:
        raise ConfigError(f"{images}: no {', '.join(unknown)} to exclude; correct `exclude`")
    if numbers == set(exclude):
        raise DataError(f"{images}: `exclude` leaves none of its {len(numbers)} images; name fewer")
    found = []
    for number in sorted(numbers - set(exclude)):
        candidates = [
            (labels / f"{number}.png", encoding),
            (labels / f"{number}{_TRAIN_IDS}.png", _TRAIN_IDS.removeprefix("_")),
        ]
        label, kind = first_label(candidates, classes, labelled=labelled)
        found.append(Row(existing(images / f"{number}.png"), label, encoding=kind))
    return found
