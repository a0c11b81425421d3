"""The check of a data set: every file is opened to its end, and everything that is wrong is listed at once."""

import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from loopda.data import duplicates, label_checks
from loopda.data.label_checks import LabelFile
from loopda.data.manifest import Row, file_digest
from loopda.data.sampling import prefetched
from loopda.errors import DataError
from loopda.labels.classes import ClassList
from loopda.labels.png import read_upright
from loopda.runtime.signals import interruptible
from loopda.text.names import faults_of_names

Key = TypeVar("Key", bound=Hashable)
Opened = TypeVar("Opened")


@dataclass(frozen=True)
class Checked:
    """What `check_rows` found.

    rows: the rows with width and height filled in (those whose image could be read). references: the different day
    references that could be read, as rows of their own, sorted by path. faults: one line each.
    pixels: (N,) int64, labelled pixels of each class, at the size of the files. ignored: pixels without a
    class. notes: what is no fault, but what the user should know, one line each.
    """

    rows: list[Row]
    references: list[Row]
    faults: list[str]
    pixels: np.ndarray
    ignored: int
    notes: list[str] = field(default_factory=list)


class ImageFile(NamedTuple):
    """An image that was opened: its upright size, EXIF orientation (1 = upright in the file) and digest."""

    width: int
    height: int
    orientation: int
    digest: str


def check_rows(
    rows: Sequence[Row],
    classes: ClassList,
    *,
    labelled: bool,
    stated: bool = False,
    ignore_palettes: bool = False,
    workers: int | None = None,
) -> Checked:
    """Open every file of `rows` to its end and list everything that is wrong with them, all at once.

    Faults: an image, label or reference that is missing or cannot be used (see `loopda.labels.png`); a label of another
    size than its image; a raw id that is neither a class nor void; where `labelled`, an image without a label, or
    labels that hold no class in any image; an image or an image/reference pair listed twice, a label of two images, an
    image that is its own label or reference; labels whose palettes contradict their numbers (a note where
    `ignore_palettes`); train ids for sure in files that are called labelIds, unless the user has `stated` the encoding;
    no rows at all. Names that a table cannot hold, or that processes would read differently (`loopda.text.names`), are
    listed alone.

    Notes: train ids perhaps, or for sure where an encoding is stated; images of both orientations in one set; one
    picture under several names, or as its own reference; labelled images that EXIF turns; equal label maps of different
    images; label maps that were smoothed.

    A file that several rows share (many nights have the same day reference) is opened once, by one of `workers` threads
    (default: one for each processor that this process may use): the decoders release Python's lock.
    """
    paths = [path for row in rows for path in (row.image, row.label, row.reference) if path]
    if unusable := faults_of_names(paths) if rows else ["no images"]:
        return Checked([], [], unusable, np.zeros(len(classes), dtype=np.int64), 0)

    # open every file once
    image_paths = {row.image for row in rows} | {row.reference for row in rows if row.reference}
    images = _opened(_open_image, image_paths, workers)
    label_keys = {(row.label, row.encoding) for row in rows if row.label}
    labels = _opened(lambda key: label_checks.open_label(*key, classes), label_keys, workers)

    # the faults of each row
    faults = duplicates.repeated_rows(rows)
    good: list[Row] = []
    counts: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(256, dtype=np.int64))
    for row in rows:
        image, reference, label = images[row.image], images.get(row.reference), labels.get((row.label, row.encoding))
        faults += _faults_of_row(row, image, reference, label, classes, labelled=labelled)
        if isinstance(image, ImageFile):
            content = ":".join(getattr(file, "digest", "") for file in (image, label, reference))
            good.append(replace(row, width=image.width, height=image.height, content=content))
        if isinstance(label, LabelFile):
            counts[row.encoding] += label.count

    # the labels of the whole set
    notes: list[str] = []
    (notes if ignore_palettes else faults).extend(label_checks.contradicted_by_palettes(labels, classes))
    pixels, ignored = label_checks.pixels_by_class(counts, classes)
    if labelled and not faults and not pixels.any():
        faults.append(f"label {rows[0].label} and all others: every pixel is void; these are no usable labels")
    elif labelled and pixels.any():
        sure, perhaps = label_checks.train_ids_as_label_ids(rows, counts, classes, stated=stated)
        faults += sure
        notes += perhaps

    # what is no fault
    of_several_ids = [row for row in good if label_checks.shows_several_ids(labels.get((row.label, row.encoding)))]
    notes += [
        *duplicates.own_references(good),
        *_mixed_orientations(good),
        *duplicates.repeated_images(good),
        *_turned_beside_labels(good, images),
        *duplicates.shared_label_maps(of_several_ids),
        *label_checks.smoothed([(path, label) for (path, _), label in labels.items() if isinstance(label, LabelFile)]),
    ]
    references = [
        Row(path, width=image.width, height=image.height, content=f"{image.digest}::")
        for path in sorted({row.reference for row in rows if row.reference})
        if isinstance(image := images[path], ImageFile)
    ]
    return Checked(good, references, faults, pixels, ignored, notes)


def _opened(work: Callable[[Key], Opened], keys: set[Key], workers: int | None) -> dict[Key, Opened]:
    """The results of `work` by key, made by `workers` threads."""
    results = interruptible(prefetched(work, keys, workers=workers or _processors()))
    return dict(zip(keys, results, strict=True))


def _faults_of_row(
    row: Row,
    image: ImageFile | str,
    reference: ImageFile | str | None,
    label: LabelFile | str | None,
    classes: ClassList,
    *,
    labelled: bool,
) -> list[str]:
    """What is wrong with the files of one row. A str is the fault of a file that could not be opened, None no file."""
    faults = []
    if isinstance(image, str):
        faults.append(f"image {image}")
    if isinstance(reference, str):
        faults.append(f"reference {reference}; it belongs to the image {row.image}")
    if isinstance(label, str):
        faults.append(f"label {label}; it belongs to the image {row.image}")
    elif label:
        if isinstance(image, ImageFile) and (image.width, image.height) != (label.width, label.height):
            faults.append(_other_size(row, image, label))
        if unknown := [value for value in sorted(classes.unknown_ids(row.encoding)) if label.count[value]]:
            faults.append(label_checks.unknown_ids_fault(row, unknown))
    elif labelled:
        faults.append(f"image {row.image}: it has no label map, and this data set needs one for each image")
    return faults


def _processors() -> int:
    """How many processors this process may use: in a cluster job fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _open_image(path: Path) -> ImageFile | str:
    """An image, or what is wrong with it."""
    try:
        image, orientation = read_upright(path)
    except DataError as error:
        return str(error)
    return ImageFile(image.width, image.height, orientation, file_digest(path))


def _other_size(row: Row, image: ImageFile, label: LabelFile) -> str:
    fault = (
        f"label {row.label}: {label.width}x{label.height} pixels, but its image {row.image} has"
        f" {image.width}x{image.height}"
    )
    if (image.width, image.height) != (label.height, label.width):
        return f"{fault}; make them the same size"
    if image.orientation != 1:
        return (
            f"{fault} since its EXIF tag turns it (orientation {image.orientation}), and the label is not turned; turn"
            " the label like it, or save the image without the tag"
        )
    return f"{fault}; make them the same size: turn one of them by 90 degrees"


def _mixed_orientations(rows: Sequence[Row]) -> list[str]:
    """A note where some images are taller than wide, and others are not."""
    upright = [row for row in rows if row.height > row.width]
    wide = [row for row in rows if row.width > row.height]
    if not upright or not wide:
        return []
    return [
        f"{len(upright)} of {len(rows)} images are upright and {len(wide)} are wide, such as {_sized(upright[0])} and"
        f" {_sized(wide[0])}: all are resized to one size, which squeezes those of the other shape; turn them, crop"
        " them, or leave them out"
    ]


def _sized(row: Row) -> str:
    return f"{row.image} ({row.width}x{row.height})"


def _turned_beside_labels(rows: Sequence[Row], images: Mapping[Path, ImageFile | str]) -> list[str]:
    """A note where EXIF tags turn images that have labels: only a person can see whether the labels were turned too."""
    turned = [row for row in rows if row.label and images[row.image].orientation != 1]
    if not turned:
        return []
    return [
        f"{len(turned)} of {len(rows)} labelled images are turned upright by their EXIF tag, such as {turned[0].image}"
        f" (orientation {images[turned[0].image].orientation}): their labels must be upright too; look at the contact"
        " sheet"
    ]
