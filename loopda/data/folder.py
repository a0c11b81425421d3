"""Images of your own in folders, found by a glob; their labels and references by their names:

    root: data/drives
    images: night/**/*.jpg                     # night/monday/0001.jpg has the folder `monday`, the stem `0001`
    labels: masks/{folder}/{stem}.png          # optional
    references: day/{folder}/{stem}.jpg        # optional

`{stem}` is what the one `*` in the last part of the glob stands for (of `*_rgb.png`, a_rgb.png has the stem `a`);
`{folder}` is the image's folder below the part of the glob that has no wildcard. What no such rule can say, a table
can (`layout: table`).
"""

import os
import re
from pathlib import Path

from loopda.data.label_files import encoding_by_name
from loopda.data.listing import files
from loopda.data.manifest import Row
from loopda.errors import DataError
from loopda.labels.classes import ClassList

GLOB = r"^([^/].*/)?[^/*?\[\]]*\*[^/*?\[\]]*$"
IS_GLOB = "a relative path whose last part holds one * and no other wildcard"

_PART = r"[^{}]|\{stem\}|\{folder\}"
PATTERN = rf"^(\{{stem\}}|([^/{{}}]|\{{folder\}})({_PART})*\{{stem\}})({_PART})*$"
IS_PATTERN = "a relative path with {stem} in it, and nothing in braces but {stem} and {folder}"


def rows(
    root: Path,
    images: str,
    classes: ClassList,
    *,
    labelled: bool,
    labels: str | None = None,
    references: str | None = None,
    encoding: str | None = None,
) -> list[Row]:
    """The files of `root` that match the glob `images`, sorted by path.

    Each image must have the reference that the pattern `references` names, and, where `labelled`, the label that
    `labels` names; `check_rows` reports those that are missing. Where not `labelled`, only labels that exist are named,
    without an encoding, since nobody is to read them. encoding: as in `table.rows`. DataError where no file matches, or
    the glob takes labels or references for images.
    """
    if encoding is not None:
        classes.encoding(encoding)
    found = []
    for image in files(root, images):
        label, reference = (_partner(Path(root), images, pattern, image) for pattern in (labels, references))
        if not labelled:
            label = label if label and label.exists() else None
        kind = (encoding or encoding_by_name(label, classes)) if label and labelled else ""
        found.append(Row(image, label, reference, kind))
    if not found:
        raise DataError(f"{Path(root, images)}: no file matches; correct `root` or `images`")
    if faults := _taken_for_images(found):
        raise DataError("\n".join(faults))
    return found


def _partner(root: Path, images: str, pattern: str | None, image: Path) -> Path | None:
    """The path that `pattern` means for `image`, a match of the glob `images`."""
    if pattern is None:
        return None
    *folders, last = images.split("/")
    before, after = last.split("*")
    stem = image.name.removeprefix(before).removesuffix(after)
    fixed = next((number for number, part in enumerate(folders) if set(part) & set("*?[")), len(folders))
    folder = image.parent.relative_to(root.joinpath(*folders[:fixed]))
    words = {"stem": stem, "folder": folder.as_posix()}
    return root / re.sub(r"\{(\w+)\}", lambda match: words[match[1]], pattern)


def _taken_for_images(found: list[Row]) -> list[str]:
    images = {os.path.abspath(row.image) for row in found}
    return [
        f"{path}: it matches `images`, but it is the {role} of {row.image}; make the glob narrower"
        for row in found
        for role, path in (("label", row.label), ("reference", row.reference))
        if path and path != row.image and os.path.abspath(path) in images
    ]
