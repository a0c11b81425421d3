"""A user's own images: which files a folder, a pattern, a list or a path means, and what their results are called."""

import glob
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from loopda.errors import DataError
from loopda.names import examples, has_control_characters
from loopda.text import read_text

SUFFIXES = (".png", ".jpg", ".jpeg")  # of the formats that `loopda.labels.png` opens


class Source(NamedTuple):
    """path: an image file, absolute. name: its path below the common root, with "/" and without the suffix; the results
    of the image mirror it."""

    path: Path
    name: str


class Found(NamedTuple):
    """sources: sorted by name. left_out: how many files of the folders and patterns have other suffixes."""

    sources: list[Source]
    left_out: int


def find_images(where: Sequence[str], *, outside: Path | None = None) -> Found:
    """The images that each of `where` stands for.

    a folder    every file with one of SUFFIXES in it and in its subfolders; the folder is the root of the names.
                Links to other folders are not followed.
    a pattern   the same of what it matches (`*`, `?`, `[...]`, and `**` for any number of folders); the root is its
                last folder without such a character.
    a .txt file a list, one path a line, absolute or relative to the folder of the list; the root is the deepest folder
                that holds them all.
    a file      itself; the root is its folder.

    Several of them have the deepest folder that holds their roots for a root. Hidden files, hidden folders and what is
    below `outside` (the folder of the results) are left out of folders and patterns. An image that is named twice is
    one image. What is named by itself or in a list is taken whatever its suffix, and whether or not it is there: the
    fault is found when it is opened. DataError where nothing is found, and where two images would have the same name
    (a.png and a.jpg).
    """
    if not where:
        raise DataError(
            "no images are named; name a folder, a pattern in quotes, a list in a .txt file, or image files"
        )
    outside = Path(os.path.abspath(outside)) if outside else None
    paths: set[Path] = set()
    roots, left_out = [], 0
    for text in where:
        root, found, chosen = _meant_by(text)
        if not chosen:
            visible = [path for path in found if not _hidden(path, root) and not (outside and _below(path, outside))]
            found = [path for path in visible if path.suffix.lower() in SUFFIXES]
            left_out += len(visible) - len(found)
        if not found:
            raise DataError(f"{text}: no image in it; images end in {', '.join(SUFFIXES)}")
        roots.append(root)
        paths.update(found)
    root = Path(os.path.commonpath(roots))
    sources = sorted((Source(path, path.relative_to(root).with_suffix("").as_posix()) for path in paths), key=_by_name)
    _refuse_same_names(sources)
    if wrong := [path for path in sorted(paths) if has_control_characters(path)]:
        raise DataError(f"{examples(wrong)}: a line break or another control character in the name; rename")
    return Found(sources, left_out)


def _meant_by(text: str) -> tuple[Path, list[Path], bool]:
    """(root, absolute files, whether they were chosen one by one)."""
    path = Path(os.path.abspath(text))
    if path.is_dir():
        return path, [Path(folder, name) for folder, _, names in os.walk(path) for name in names], False
    if path.suffix.lower() == ".txt" and path.is_file():
        files = _listed(path)
        return Path(os.path.commonpath([file.parent for file in files])), files, True
    if path.is_file():
        return path.parent, [path], True
    if not _is_pattern(text):
        raise DataError(f"{text}: no such file or folder")
    files = [Path(os.path.abspath(match)) for match in glob.glob(text, recursive=True)]
    plain = [parent for parent in path.parents if not _is_pattern(str(parent))]
    return plain[0], [file for file in files if file.is_file()], False


def _listed(path: Path) -> list[Path]:
    try:
        lines = read_text(path).splitlines()
    except OSError as error:
        raise DataError(f"{path}: a list of paths that cannot be read ({error.strerror})") from None
    files = [Path(os.path.abspath(path.parent / line.strip())) for line in lines if line.strip()]
    if not files:
        raise DataError(f"{path}: an empty list; write one path of an image a line")
    return files


def _is_pattern(text: str) -> bool:
    return any(character in text for character in "*?[")


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _below(path: Path, folder: Path) -> bool:
    return folder in path.parents


def _by_name(source: Source) -> tuple[str, Path]:
    return source.name, source.path


def _refuse_same_names(sources: Sequence[Source]) -> None:
    by_name = defaultdict(list)
    for source in sources:
        by_name[source.name].append(str(source.path))
    faults = [
        f"{' and '.join(paths)}: their results would have the same name; rename one, or name them in two runs with two"
        " folders for the results"
        for paths in by_name.values()
        if len(paths) > 1
    ]
    if faults:
        raise DataError("\n".join(faults))
