"""The night images of BDD100K's 10k segmentation set, to measure on (Yu et al., CVPR 2020), in either of its layouts:

    <root>/images/10k/{train,val}/<name>.jpg     <root>/labels/sem_seg/masks/{train,val}/<name>.png
    <root>/seg/images/{train,val}/<name>.jpg     <root>/seg/labels/{train,val}/<name>_train_id.png

Label files hold train ids of Cityscapes. A list of the user's says which images show night: that of MGCDA
(Sakaridis et al., TPAMI 2020; images_trainval_night_correct_filenames.txt, 87 images), whose labels were
checked. The attribute `night` of BDD100K itself selects many wrong labels (bdd100k issue 103).
"""

from pathlib import Path, PurePosixPath
from typing import Literal

from loopda.data.label_files import first_label
from loopda.data.layouts.layout import Layout
from loopda.data.lists import read_names, refuse_list_of_another_tree
from loopda.data.manifest import Row
from loopda.data.paths import existing, none_is_there
from loopda.data.skipped import record_skipped
from loopda.errors import DataError
from loopda.labels.classes import ClassList
from loopda.text.names import examples


class Bdd100kNightLayout(Layout):
    """Images in the folders of BDD100K: see `loopda.data.layouts.bdd100k_night`. names: which of them show night."""

    layout: Literal["bdd100k_night"]
    root: Path
    names: Path

    def rows(self, classes: ClassList, *, labelled: bool) -> list[Row]:
        """The images that the list `names` holds, in its order.

        Of a line, `seg/images/<split>/<name>.jpg`, the last two parts count, so one list serves both layouts; where
        both are there, the new one is read. DataError where neither is, or a line names no image of train or val.
        """
        root, names = self.root, self.names
        new, old = Path(root, "images", "10k"), Path(root, "seg", "images")
        if not new.is_dir() and not old.is_dir():
            raise DataError(f"{new}: no such folder, nor {old}; `root` must be the folder that holds images/ or seg/")
        found, faults = [], []
        for number, name in read_names(names):
            parts = PurePosixPath(name)
            split, stem = parts.parent.name, parts.stem
            if split not in ("train", "val") or parts.suffix.lower() != ".jpg":
                faults.append(
                    f"{names}, line {number}: {name!r} is not .../train/<name>.jpg or .../val/<name>.jpg; correct or"
                    " delete the line"
                )
                continue
            if new.is_dir():
                image, label = new / split / parts.name, root / f"labels/sem_seg/masks/{split}/{stem}.png"
            else:
                image, label = old / split / parts.name, root / f"seg/labels/{split}/{stem}_train_id.png"
            label, encoding = first_label([(label, "labelTrainIds")], classes, labelled=labelled)
            found.append(Row(existing(image), label, encoding=encoding))
        if faults:
            raise DataError("\n".join(faults))
        refuse_list_of_another_tree(names, [row.image for row in found], "correct `names` or `root`")
        of_images = [row.label for row in found if row.label]
        if labelled and none_is_there(of_images):
            raise DataError(
                f"{root}: none of the {len(of_images)} label maps is there, such as {examples(of_images)}; unpack"
                " those of the 10k segmentation set into `root`"
            )
        if new.is_dir() and old.is_dir():
            record_skipped(f"beside {new}, which is read", old)
        return found
