"""Images and label maps that are listed twice, under one name or several: by path, as a link, or as a copy."""

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from loopda.data.manifest import Row


def same_pictures(first: Iterable[Row], second: Iterable[Row]) -> list[tuple[Path, Path]]:
    """(image, its twin) for each image of the checked rows `first` that is in `second` too: the same path however it is
    spelt, a link to it, or a copy of the file."""
    twins: dict[str, Path] = {}
    for row in second:
        for key in _identities(row):
            twins.setdefault(key, row.image)
    found = []
    for row in first:
        twin = next((twins[key] for key in _identities(row) if key in twins), None)
        if twin is not None:
            found.append((row.image, twin))
    return found


def same_labels(first: Iterable[Row], second: Iterable[Row]) -> list[tuple[Path, Path]]:
    """(label, its twin) for each label map of the checked rows `first` that is one of `second` too, by path or link,
    where it belongs to another image."""
    twins = {os.path.realpath(row.label): row for row in second if row.label}
    found = [(row, twins.get(os.path.realpath(row.label))) for row in first if row.label]
    return [(row.label, twin.label) for row, twin in found if twin and row.image_content != twin.image_content]


def _identities(row: Row) -> list[str]:
    """Strings of which two rows of one picture share at least one: paths first, then the digest."""
    paths = [os.path.abspath(row.image), os.path.realpath(row.image)]
    return [*paths, row.image_content] if row.image_content else paths


def repeated_rows(rows: Sequence[Row]) -> list[str]:
    """Faults of rows that repeat each other, or name one file in two roles."""
    faults = []
    by_image: dict[str, list[Row]] = defaultdict(list)
    by_label: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        image = os.path.abspath(row.image)  # two spellings of one path are one file
        by_image[image].append(row)
        if row.label:
            by_label[os.path.abspath(row.label)].append(row)
            if os.path.abspath(row.label) == image:
                faults.append(f"image {row.image}: it is listed as its own label map")
        if row.reference and os.path.abspath(row.reference) == image:
            faults.append(f"image {row.image}: it is listed as its own day reference")
    for same in by_image.values():
        if len(same) > 1:
            references = {row.reference for row in same}
            if len(references) > 1:
                what = f"with {len(references)} different references; keep one"
            else:
                what = f"{len(same)} times" + (" with the same reference" if same[0].reference else "") + "; keep one"
            faults.append(f"image {same[0].image}: it is listed {what}")
    for same in by_label.values():
        images = sorted({os.path.abspath(row.image) for row in same})
        if len(images) > 1:
            faults.append(f"label {same[0].label}: it is listed for several images ({', '.join(images[:2])}, ...)")
    return faults


def own_references(rows: Sequence[Row]) -> list[str]:
    """A note where the day reference of an image is a copy of it, or a link to it."""
    own = [row for row in rows if row.reference and row.image_content == row.reference_content]
    if not own:
        return []
    return [
        f"{len(own)} of {len(rows)} images have themselves for a day reference, by link or copy, such as {own[0].image}"
        f" (which is {own[0].reference}); name the day images, or none"
    ]


def repeated_images(rows: Sequence[Row]) -> list[str]:
    """A note where one picture has several names in a set."""
    by_content: dict[str, list[Path]] = defaultdict(list)
    for row in rows:
        by_content[row.image_content].append(row.image)
    repeated = [images for images in by_content.values() if len({*map(os.path.abspath, images)}) > 1]
    if not repeated:
        return []
    first, second = repeated[0][:2]
    more = sum(len(images) - 1 for images in repeated)
    return [
        f"{more} of {len(rows)} images repeat another under a second name, by link or copy, such as"
        f" {second} (which is {first}): each counts twice; leave one out"
    ]


def shared_label_maps(rows: Sequence[Row]) -> list[str]:
    """A note where different images of `rows` have equal label maps, by link or copy."""
    by_content: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in rows:
        if row.label_content:
            by_content[row.label_content].setdefault(row.image_content, row)
    repeated = [list(alike.values()) for alike in by_content.values() if len(alike) > 1]
    if not repeated:
        return []
    first, second = repeated[0][:2]
    return [
        f"{sum(map(len, repeated))} of {len(rows)} images share a label map with another image, by link or copy, such"
        f" as {second.image} (whose {second.label} is {first.label}): right only where both show the same scene"
    ]
