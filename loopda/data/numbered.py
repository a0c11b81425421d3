"""What GTA5 and SYNTHIA have in common: numbered images in one folder, their label maps in another."""

from collections.abc import Sequence
from pathlib import Path

from loopda.data.label_files import first_label
from loopda.data.listing import files
from loopda.data.manifest import Row
from loopda.errors import ConfigError, DataError
from loopda.labels.classes import ClassList

_TRAIN_IDS = "_labelTrainIds"


def rows(
    images: Path, labels: Path, encoding: str, classes: ClassList, *, labelled: bool, exclude: Sequence[str] = ()
) -> list[Row]:
    """The pairs `images`/<number>.png and `labels`/<number>.png, sorted by number.

    The label maps are read as `encoding`; where only <number>_labelTrainIds.png exists (DAFormer makes such), as that.
    Where `labelled`, half a pair is a row too, with the missing file's name in it: `check_rows` reports it. exclude:
    numbers to leave out. DataError where there are no images, or none is left; ConfigError where `exclude` names a pair
    that is not there.
    """
    numbers = {path.stem for path in files(images, "*.png")}
    if not numbers:
        raise DataError(
            f"{images}: no <number>.png in it; `root` must be the folder that holds {images.name}/ beside its labels"
        )
    if labelled:
        numbers |= {path.stem.removesuffix(_TRAIN_IDS) for path in files(labels, "*.png")}
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
        found.append(Row(images / f"{number}.png", label, encoding=kind))
    return found
