"""Checks across the data sets of one experiment: images in two of them, classes that no model can learn, shapes."""

import os
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path

from loopda.data.dataset import Input
from loopda.data.duplicates import same_labels, same_pictures
from loopda.data.manifest import Row
from loopda.data.scoring import Scoring
from loopda.data.sets import UNLABELLED, CheckedSet, absent
from loopda.data.shapes import keeping_shape, squeezed
from loopda.labels.classes import ClassList
from loopda.pipeline.stages import MEASURED

Sets = Mapping[str, CheckedSet]  # by their names in the configuration
SCORED_AS = {key: domain for domain, key in MEASURED.items()}  # the names of sets in `evaluate`, where they differ


def images_in_two_sets(sets: Sets, keys: Mapping[str, str]) -> list[str]:
    """A fault for each image that is measured on and trained on, for each test image that is adapted to or that
    settings are chosen on, and for each image that is a night and a day image.

    keys: where the configuration has each set.
    """
    trained = [
        f"{keys[name]}: image {image}: it is in source too{_as(image, twin)}; measure on images that were not trained"
        " on"
        for name in _measured(sets)
        for image, twin in _in_both(sets, name, "source")
    ]
    tested = [
        f"{keys[name]}: image {image}: it is in {other} too{_as(image, twin)}; test on images that nothing was"
        " chosen or trained on"
        for name in ("day_test", "night_test")
        for other in ("night", "day", "day_val", "night_val")
        for image, twin in _in_both(sets, name, other)
    ]
    by_night = [
        f"data.day: image {image}: it is in night too{_as(image, twin)}, and no night image is a day reference; name"
        " images by day alone"
        for image, twin in _in_both(sets, "day", "night")
    ]
    return trained + tested + by_night


def notes_on_sets(sets: Sets, classes: ClassList) -> list[str]:
    """What is no fault, but what the reader of the results should know."""
    return [
        *(f"{name}: there is no such set: not measured" for name in ("night_val", "day_val") if name not in sets),
        *(f"{name}: {line}" for name, data_set in sets.items() for line in data_set.skipped),
        *_without_references(sets),
        *_classes(sets, classes),
        *_transductive(sets),
        *_shared_images(sets),
        *(f"{name}: {note}" for name, data_set in sets.items() for note in data_set.checked.notes),
    ]


def notes_on_shapes(sets: Sets, sizes: Input, scoring: Scoring) -> list[str]:
    """A note for each set whose images are squeezed at the size that they get, with a size that keeps their shape."""
    notes = []
    for name, data_set in sets.items():
        rows, scored_as = data_set.checked.rows, SCORED_AS.get(name, name)
        if name in _measured(sets):
            size = scoring.size_of(scored_as, sizes)
            key, more = f"evaluate.sizes.{scored_as}", ""
        else:
            size = sizes.labelled_day if name == "source" else sizes.size
            key, more = "input.source_size" if name == "source" else "input.size", " (with an input.crop that fits)"
        if note := squeezed(rows, size):
            width, height = keeping_shape(rows, size)
            notes.append(f"{name}: {note}; {key}: [{width}, {height}]{more} would keep their shape")
    return notes


def _measured(sets: Sets) -> list[str]:
    """The names of the sets that are measured on."""
    return [name for name in sets if name not in ("source", *UNLABELLED)]


def _rows(sets: Sets, name: str) -> list[Row]:
    return sets[name].checked.rows if name in sets else []


def _in_both(sets: Sets, first: str, second: str) -> list[tuple[Path, Path]]:
    """(image, its twin) for each image of the set `first` that is in the set `second` too, sorted: by name, as a link,
    or as a copy."""
    return sorted(same_pictures(_rows(sets, first), _rows(sets, second)))


def _as(file: Path, twin: Path) -> str:
    """The other name of a file, where it has one, for a message."""
    return "" if os.path.abspath(file) == os.path.abspath(twin) else f" (as {twin})"


def _without_references(sets: Sets) -> Iterable[str]:
    night = _rows(sets, "night")
    without = sum(row.reference is None for row in night)
    if night and without == len(night):
        yield "night: no references: terms that need one are left out"
    elif without:
        yield f"night: {without} of {len(night)} images have no reference: terms that need one leave them out"
    if "night" in sets and sets["night"].hidden:
        yield f"night: {sets['night'].hidden} label maps exist and stay hidden from training"


def _classes(sets: Sets, classes: ClassList) -> Iterable[str]:
    """Classes without a pixel, classes that are measured and never learnt, and label maps of source that are measured
    on."""
    for name in sets:
        if name not in UNLABELLED and (missing := absent(sets[name], classes)):
            yield f"{name}: classes without a pixel: {', '.join(missing)}"
    for name in _measured(sets) if "source" in sets else ():
        known = absent(sets[name], classes)
        if unlearnt := [one for one in absent(sets["source"], classes) if one not in known]:
            yield (
                f"{name}: {', '.join(unlearnt)}: in its labels, but not in those of source; no model can learn them,"
                " and they count as 0 in its mean (a class list with `keep` can leave them out)"
            )
        if taken := same_labels(_rows(sets, name), _rows(sets, "source")):
            label, twin = taken[0]
            yield (
                f"{name}: {len(taken)} of its label maps are those of other images in source"
                f" ({label}{_as(label, twin)}, for one): right only where both images show the same scene"
            )


def _transductive(sets: Sets) -> Iterable[str]:
    """Images that are measured on and adapted to, or day references of such images."""
    references = sets["night"].checked.references if "night" in sets else []
    for name in _measured(sets):
        for seen, what in ((_rows(sets, "night"), "in night"), (references, "day references of night")):
            if both := sorted(same_pictures(_rows(sets, name), seen)):
                image, twin = both[0]
                yield (
                    f"{name}: {len(both)} of its images are {what} too: its scores are transductive"
                    f" ({image}{_as(image, twin)}, for one)"
                )


def _shared_images(sets: Sets) -> Iterable[str]:
    for first, second in [("night", "source"), *combinations(_measured(sets), 2)]:
        if both := _in_both(sets, first, second):
            image, twin = both[0]
            yield f"{first}: {len(both)} of its images are in {second} too ({image}{_as(image, twin)}, for one)"
