"""Images of your own in folders, found by a glob; their labels and references by their names:

    root: data/drives
    images: night/**/*.jpg                     # night/monday/0001.jpg has the folder `monday`, the stem `0001`
    labels: masks/{folder}/{stem}.png          # optional
    references: day/{folder}/{stem}.jpg        # optional

`{stem}` is what the one `*` in the last part of the glob stands for (of `*_rgb.png`, a_rgb.png has the stem `a`);
`{folder}` is the image's folder below the part of the glob that has no wildcard. Where no such rule fits, write a table
(`layout: table`).
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from loopda.config import expanded
from loopda.data.label_files import encoding_by_name
from loopda.data.layouts.layout import Layout, Palette
from loopda.data.listing import files
from loopda.data.manifest import Row
from loopda.data.paths import existing, named_parts, none_is_there
from loopda.data.skipped import collect_skipped, record_skipped
from loopda.errors import ConfigError, DataError
from loopda.labels.classes import ClassList
from loopda.text.names import examples

GLOB = r"^([^/].*/)?[^/*?\[\]]*\*[^/*?\[\]]*$"
IS_GLOB = "a relative path whose last part holds one * and no other wildcard"

_NAMED = r"\{folder\}|\$\{\w+\}"  # the folder of the image, and a variable of the environment
_PART = rf"[^{{}}]|\{{stem\}}|{_NAMED}"
PATTERN = rf"^(\{{stem\}}|([^/{{}}]|{_NAMED})({_PART})*\{{stem\}})({_PART})*$"
IS_PATTERN = "a relative path with {stem} in it, and nothing in braces but {stem}, {folder} and ${VARIABLES}"

_Pattern = Annotated[str, Field(pattern=PATTERN, description=IS_PATTERN)]


class FolderLayout(Layout):
    """Images of your own in folders: see `loopda.data.layouts.folder`. images: a glob below `root`. labels, references:
    paths below it with {stem} in them. encoding, palette: as in a table."""

    layout: Literal["folder"]
    root: Path
    images: Annotated[str, Field(pattern=GLOB, description=IS_GLOB)]
    labels: _Pattern | None = None
    references: _Pattern | None = None
    encoding: str | None = None
    palette: Palette = "check"

    def rows(self, classes: ClassList, *, labelled: bool) -> list[Row]:
        """The files of `root` that match the glob `images` (`listing.files`), sorted by path.

        Each image must have the reference that the pattern `references` names, and, where `labelled`, the label that
        `labels` names; `check_rows` reports those that are missing. Where not `labelled`, only labels that exist are
        named, without an encoding, since nobody is to read them. DataError where no file matches, none of many labels
        or references is there, or the glob takes labels or references for images.
        """
        if self.encoding is not None:
            classes.encoding(self.encoding)
        root, encoding = self.root, self.encoding
        images, labels, references = (_below(root, pattern) for pattern in (self.images, self.labels, self.references))
        found = []
        with collect_skipped() as skipped:
            for image in files(root, images):
                label, reference = (_partner(root, images, pattern, image) for pattern in (labels, references))
                if not labelled:
                    label = label if label and label.exists() else None
                kind = (encoding or encoding_by_name(label, classes)) if label and labelled else ""
                found.append(Row(image, label, reference, kind))
        if not found:
            raise DataError("\n".join([_no_match(root, images), *skipped.lines()]))
        if faults := [*_taken_for_images(found), *_absent(root, found, labels, references)]:
            raise DataError("\n".join(faults))
        used = {path for row in found for path in (row.image, row.label, row.reference) if path}
        of_labels, of_references = (_unused(root, pattern, used) for pattern in (labels, references))
        skipped.discard([*used, *of_labels, *of_references])
        for cause, paths in skipped.by_cause.items():
            record_skipped(cause, *paths)
        if labelled:
            record_skipped("label maps without an image", *of_labels)
        record_skipped("references without an image", *of_references)
        return found


def _below(root: Path, pattern: str | None) -> str | None:
    """`pattern` with variables filled in; ConfigError where it does not start from `root`."""
    if pattern is None:
        return None
    filled = expanded(pattern, root).as_posix() if pattern[:1] == "~" or "$" in pattern else pattern
    if filled.startswith("/"):
        raise ConfigError(f"{pattern}: not below `root`; put the folder into `root`, and what is below it here")
    return filled


def _no_match(root: Path, images: str) -> str:
    hint = " (`[` begins a set of characters; where the name has it, write `[[]`)" if "[" in images else ""
    if "\\" in f"{root}{images}":
        hint = " (folders are parted by / here, not by \\)"
    if not root.is_dir():
        return f"{Path(root, images)}: no file matches, for there is no folder {root}; correct `root`{hint}"
    return f"{Path(root, images)}: no file matches; correct `root` or `images`{hint}"


def _partner(root: Path, images: str, pattern: str | None, image: Path) -> Path | None:
    """The path that `pattern` means for `image`, a match of the glob `images`."""
    if pattern is None:
        return None
    *folders, last = images.split("/")
    before, after = last.split("*")
    stem = image.name[len(before) : len(image.name) - len(after)]
    folder = image.parent.relative_to(root.joinpath(*folders[: named_parts(root, folders)]))
    words = {"stem": stem, "folder": folder.as_posix()}
    return existing(root / re.sub(r"\{(\w+)\}", lambda match: words[match[1]], pattern))


def _unused(root: Path, pattern: str | None, used: Iterable[Path]) -> list[Path]:
    """The files that `pattern` means for some image, but for none of these; [] where no glob says which they are."""
    if pattern is None or pattern.count("{stem}") > 1:
        return []
    parts = ["**" if part == "{folder}" else part.replace("{stem}", "*") for part in pattern.split("/")]
    if any("{folder}" in part for part in parts):
        return []
    with collect_skipped():  # what lies beside them is no image
        present = files(root, "/".join(parts))
    known = {os.path.realpath(path) for path in used}
    return [path for path in present if os.path.realpath(path) not in known]


def _absent(root: Path, found: list[Row], labels: str | None, references: str | None) -> list[str]:
    """A fault where none of the labels that are needed, or of the references, is there."""
    paths = {
        "labels": (labels, [row.label for row in found if row.label and row.encoding]),
        "references": (references, [row.reference for row in found if row.reference]),
    }
    return [
        f"{root / pattern}: none of the {len(named)} {role} is there, such as {examples(named)}; correct `{role}`"
        for role, (pattern, named) in paths.items()
        if pattern and none_is_there(named)
    ]


def _taken_for_images(found: list[Row]) -> list[str]:
    images = {os.path.abspath(row.image) for row in found}
    return [
        f"{path}: it matches `images`, but it is the {role} of {row.image}; make the glob narrower"
        for row in found
        for role, path in (("label", row.label), ("reference", row.reference))
        if path and path != row.image and os.path.abspath(path) in images
    ]
