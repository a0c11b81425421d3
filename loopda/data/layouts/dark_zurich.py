"""Dark Zurich as it is downloaded: night images, with day images of about the same places (Sakaridis et al.,
ICCV 2019), all three archives in one folder or each in its own:

    <root>[/Dark_Zurich_<split>_anon]/rgb_anon/train/{night,day}/<REC>/<REC>_frame_<n>_rgb_anon.png
    <root>[/Dark_Zurich_<split>_anon]/rgb_anon/val/night/<REC>/<REC>_frame_<n>_rgb_anon.png
    <root>[/Dark_Zurich_<split>_anon]/rgb_anon/val_ref/day/<REC>_ref/<REC>_frame_<n>..._rgb_anon.png
    <root>[/Dark_Zurich_<split>_anon]/gt/val/night/<REC>/<REC>_frame_<n>_gt_labelIds.png
    (or _gt_labelTrainIds.png)

The pairs of the training images stand in zurich_dn_pair_train.csv, which the authors of DANNet, LoopDA and
Refign share: no header, one `night,day` a line, relative to rgb_anon and without `_rgb_anon.png`.
"""

import csv
from collections import defaultdict
from pathlib import Path
from typing import Literal

from loopda.data.label_files import check_labels, label_file
from loopda.data.layouts.layout import Layout, Split
from loopda.data.listing import files, record_outside_splits, record_unused
from loopda.data.lists import read_fields, refuse_list_of_another_tree
from loopda.data.manifest import Row
from loopda.data.paths import existing
from loopda.data.skipped import nothing_found, record_skipped
from loopda.errors import DataError
from loopda.labels.classes import ClassList

PAIRS = "zurich_dn_pair_train.csv"
_IMAGE = "_rgb_anon.png"


class DarkZurichLayout(Layout):
    """Images in the folders of Dark Zurich: see `loopda.data.layouts.dark_zurich`. pairs: the pair list of the split
    train."""

    layout: Literal["dark_zurich"]
    root: Path
    split: Split
    pairs: Path | None = None

    def rows(self, classes: ClassList, *, labelled: bool) -> list[Row]:
        """The night images of one split.

        train: the lines of the pair list, in its order: night images with their day reference. The list is `pairs`,
        else zurich_dn_pair_train.csv in `root` or in the folder above it. val, test: the images in the folders, sorted
        by name, with a reference where exactly one file of the reference folder begins with the same recording and
        frame. No training labels were published, and none of test. DataError lists every line of the pair list that is
        not a pair; it also says when a folder or the list is missing, or the list belongs to another tree.
        """
        split = self.split
        base = _base(self.root, split)
        night, labels = base / "rgb_anon" / split / "night", base / "gt" / split / "night"
        record_outside_splits(base / "rgb_anon", ("train", "val", "test", "train_ref", "val_ref", "test_ref"))
        if split == "train":
            pairs = _pair_list(self.root, self.pairs)
            found = _training_pairs(base, pairs)
            nights = [row.image for row in found]
            record_unused(f"not named by {pairs.name}", night, f"*/*{_IMAGE}", nights)
        else:
            nights = files(night, f"*/*{_IMAGE}")
            if not nights:
                raise nothing_found(f"{night}: no <recording>/*{_IMAGE} in it; unpack this split, or correct `split`")
            references = _references_by_frame(base / "rgb_anon" / f"{split}_ref" / "day")
            found = [Row(night, reference=references.get(_frame(night))) for night in nights]
            unused = references.keys() - set(map(_frame, nights))
            record_skipped("references without an image", *(references[frame] for frame in sorted(unused)))
        found = [_with_label(row, labels, classes, labelled) for row in found]
        if labelled:
            remedy = {
                "train": "none of the training images were published: measure on `split: val`",
                "val": "unpack Dark_Zurich_val_anon.zip into `root`",
                "test": "the labels of the test images are not public: measure on `split: val`, or let the stage"
                " submission make the zip for the test server",
            }
            check_labels([row.label for row in found], labels, "*/*_gt", remedy[split])
        return found


def _base(root: Path, split: str) -> Path:
    """The folder whose rgb_anon holds the night images of `split`."""
    candidates = [root, *sorted(root.glob("Dark_Zurich_*_anon*"))]
    if found := [candidate for candidate in candidates if (candidate / "rgb_anon" / split / "night").is_dir()]:
        record_skipped(f"beside {found[0]}, which is read", *found[1:])
        return found[0]
    raise DataError(
        f"{root / 'rgb_anon' / split / 'night'}: no such folder, nor in {root}/Dark_Zurich_*_anon*/rgb_anon;"
        " `root` must be the folder that holds rgb_anon/ or Dark_Zurich_<split>_anon/"
    )


def _pair_list(root: Path, pairs: Path | None) -> Path:
    above = (root.absolute().parent, root.resolve().parent)  # where `root` is a link, of both
    candidates = [Path(pairs)] if pairs else [root / PAIRS, *(folder / PAIRS for folder in above)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise DataError(
        f"{candidates[0]}: no such pair list; it says which day image belongs to which night image:"
        f" put {PAIRS} into `root`, or name it with `pairs:`"
    )


def _training_pairs(base: Path, pairs: Path) -> list[Row]:
    found, faults = [], []
    try:
        lines = read_fields(pairs)
    except (OSError, csv.Error) as error:
        raise DataError(f"{pairs}: not a CSV table: {error}") from None
    for number, fields in lines:
        if len(fields) == 2 and "day" in Path(fields[0]).parts[:2] and "day" not in Path(fields[1]).parts[:2]:
            faults.append(
                f"{pairs}, line {number}: the day image stands first; a line is `night,day`: change the order"
            )
        elif len(fields) == 2 and all(fields):
            night, day = (existing(base / "rgb_anon" / f"{field}{_IMAGE}") for field in fields)
            found.append(Row(night, reference=day))
        else:
            faults.append(
                f"{pairs}, line {number}: {','.join(fields)!r} is not a pair `night,day`; complete or delete the line"
            )
    if not lines:
        faults.append(f"{pairs}: no pairs in it; it must hold a line `night,day` for each pair")
    if faults:
        raise DataError("\n".join(faults))
    remedy = f"correct `root`, or name that of this tree with `pairs:` ({PAIRS} is the list of the published one)"
    for paths in ([row.image for row in found], [row.reference for row in found]):
        refuse_list_of_another_tree(pairs, paths, remedy)
    return found


def _frame(image: Path) -> str:
    """`<REC>_frame_<n>`: what the names of a night image and of its reference have in common."""
    return "_".join(image.name.split("_")[:3])


def _references_by_frame(folder: Path) -> dict[str, Path]:
    """The reference of each frame of val or test; {} where there is no reference folder."""
    by_frame = defaultdict(list)
    for reference in files(folder, f"*_ref/*{_IMAGE}"):
        by_frame[_frame(reference)].append(reference)
    faults = [
        f"{same[0]}: {len(same)} files of this frame; keep the one that is the reference of the night image"
        for same in by_frame.values()
        if len(same) > 1
    ]
    if faults:
        raise DataError("\n".join(faults))
    return {frame: same[0] for frame, same in by_frame.items()}


def _with_label(row: Row, labels: Path, classes: ClassList, labelled: bool) -> Row:
    stem = labels / row.image.parent.name / f"{row.image.stem.removesuffix(Path(_IMAGE).stem)}_gt"
    label, encoding = label_file(stem, classes, labelled=labelled)
    return Row(row.image, label, row.reference, encoding)
