"""What GTA5 and SYNTHIA have in common: numbered images in one folder, their label maps in another."""

from pathlib import Path
from typing import ClassVar

from loopda.data.label_files import first_label
from loopda.data.layouts.layout import Layout
from loopda.data.listing import files
from loopda.data.manifest import Row
from loopda.data.paths import existing
from loopda.data.skipped import collect_skipped, nothing_found, record_skipped
from loopda.errors import ConfigError, DataError
from loopda.labels.classes import ClassList
from loopda.text.names import SHOWN, examples

_TRAIN_IDS = "_labelTrainIds"


class NumberedLayout(Layout):
    """The keys that GTA5 and SYNTHIA share. exclude: pairs to leave out, by their numbers as text ("15188").

    images_folder, labels_folder: below `root`. label_encoding: how the label maps are read.
    """

    root: Path
    exclude: tuple[str, ...] = ()

    images_folder: ClassVar[str]
    labels_folder: ClassVar[str]
    label_encoding: ClassVar[str]
    remedy: ClassVar[str] = "a pair that cannot be corrected can be left out: name its number in `exclude`"

    def rows(self, classes: ClassList, *, labelled: bool) -> list[Row]:
        """The pairs `<number>.png` of both folders but those of the numbers in `exclude`, sorted by number.

        The label maps are read as `label_encoding`; where only <number>_labelTrainIds.png exists (DAFormer makes such),
        as that. Where `labelled`, half a pair is a row too, with the missing file's name in it: `check_rows` reports
        it. DataError where there are no images, or none is left; ConfigError where `exclude` names a pair that is not
        there.
        """
        images, labels = self.root / self.images_folder, self.root / self.labels_folder
        of_images = {path.stem for path in files(images, "*.png")}
        if not of_images:
            raise nothing_found(
                f"{images}: no <number>.png in it; `root` must be the folder that holds {images.name}/ beside its"
                " labels"
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
            unused = [path for number, path in of_labels.items() if number not in of_images]
            record_skipped("label maps without an image", *unused)
        if unknown := [number for number in self.exclude if number not in numbers]:
            raise ConfigError(f"{images}: no {', '.join(unknown)} to exclude; correct `exclude`")
        if numbers == set(self.exclude):
            raise DataError(f"{images}: `exclude` leaves none of its {len(numbers)} images; name fewer")
        found = []
        for number in sorted(numbers - set(self.exclude)):
            candidates = [
                (labels / f"{number}.png", self.label_encoding),
                (labels / f"{number}{_TRAIN_IDS}.png", _TRAIN_IDS.removeprefix("_")),
            ]
            label, encoding = first_label(candidates, classes, labelled=labelled)
            found.append(Row(existing(images / f"{number}.png"), label, encoding=encoding))
        return found
