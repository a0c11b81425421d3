"""A user's own images: which files a folder, a pattern, a list or a path means, and what their results are called."""

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from loopda.config import expanded
from loopda.data.listing import OWN, READ, RECORD, files, is_record
from loopda.data.lists import refuse_list_from_elsewhere, refuse_list_of_another_tree, text_of
from loopda.data.paths import absolute, is_pattern, named_parts, named_path
from loopda.data.skipped import collect_skipped, record_skipped
from loopda.errors import ConfigError, DataError
from loopda.text.names import examples, has_control_characters


class Source(NamedTuple):
    """path: an image file, absolute. name: its path below the common root, with "/" and without the suffix; the results
    of the image mirror it."""

    path: Path
    name: str


class FoundImages(NamedTuple):
    """sources: sorted by name. skipped: what else lies there, a line for each cause (`loopda.data.skipped`)."""

    sources: list[Source]
    skipped: list[str]


def find_images(where: Sequence[str], *, outside: Path | None = None) -> FoundImages:
    """The images that each of `where` stands for.

    a folder    every file with one of the suffixes READ, in any letters, in it and in its subfolders, through links
                too; the folder is the root of the names.
    a pattern   the same of what it matches (`*`, `?`, `[...]`, and `**` for any number of folders); the root is its
                last folder without such a character. An existing name that has such characters is no pattern.
    a .txt file a list, one path a line, absolute or relative to the folder of the list (`paths.named_path`); the root
                is the deepest folder that holds them all.
    a file      itself; the root is its folder.

    With several, the root is the deepest folder that holds all their roots. Folders and patterns leave out what
    `listing.files` skips, and what lies below `outside` (the folder of the results). A folder of results that is named
    beside others is left out too. An image that is named twice is one image. A file that is named by itself or in a
    list is taken whatever its suffix, and whether or not it exists: the fault is found when it is opened. DataError
    where nothing is found, where most of a list does not exist, and where two images would have the same name (a.png
    and a.jpg).
    """
    if not where:
        raise DataError(
            "no images are named; name a folder, a pattern in quotes, a list in a .txt file, or image files"
        )
    paths: set[Path] = set()
    roots = []
    with collect_skipped() as skipped:
        for text in where:
            if len(where) > 1 and _is_results(path := absolute(expanded(text)), outside):
                record_skipped(OWN, path)  # of `drive/*` that a shell has written out
                continue
            root, found = _root_and_files(str(expanded(text)), outside)
            if not found:
                raise DataError(
                    "\n".join([f"{text}: no image in it; images end in {', '.join(READ)}", *skipped.lines()])
                )
            roots.append(root)
            paths.update(found)
    skipped.discard(paths)  # an entry of `where` may name what another skips
    if not roots:
        raise DataError("\n".join(["no images are named but results", *skipped.lines()]))
    root = Path(os.path.commonpath(roots))
    sources = sorted((Source(path, path.relative_to(root).with_suffix("").as_posix()) for path in paths), key=_by_name)
    _refuse_same_names(sources)
    if wrong := [path for path in sorted(paths) if has_control_characters(path)]:
        raise DataError(f"{examples(wrong)}: a line break or another control character in the name; rename")
    return FoundImages(sources, skipped.lines())


def _is_results(path: Path, outside: Path | None) -> bool:
    """Whether `path` is the folder of these results, or one that has nothing but results of an earlier run."""
    if not path.is_dir():
        return False
    if outside and os.path.realpath(path) == os.path.realpath(outside):
        return True
    with collect_skipped():
        return is_record(path / RECORD) and not files(path, "**/*", any_picture=True)


def _root_and_files(text: str, outside: Path | None) -> tuple[Path, list[Path]]:
    """(root, absolute files)."""
    path = absolute(text)
    if path.is_dir():
        return path, _matching(path, "**/*", outside)
    if path.suffix.lower() == ".txt" and path.is_file():
        listed = _listed(path)
        return Path(os.path.commonpath([file.parent for file in listed])), listed
    if path.is_file():
        if path.suffix.lower() in (".csv", ".tsv", ".lst", ".list"):
            raise DataError(f"{text}: a list of images is a .txt file with one path a line, and no other table")
        return path.parent, [path]
    parts = path.parts[1:]
    named = named_parts(Path("/"), parts[:-1])
    if named == len(parts) - 1 and not is_pattern(path.name):
        hint = "; folders are parted by / here, not by \\" if "\\" in text else ""
        raise DataError(f"{text}: no such file or folder{hint}")
    return (root := Path("/", *parts[:named])), _matching(root, "/".join(parts[named:]), outside)


def _matching(root: Path, pattern: str, outside: Path | None) -> list[Path]:
    """The images of `root` that match `pattern`; none where they are among the results themselves."""
    if outside and Path(os.path.realpath(outside)) in (real := Path(os.path.realpath(root)), *real.parents):
        raise DataError(
            f"{root}: the folder {outside} of the results is the same, or holds it; choose another for them"
        )
    return files(root, pattern, any_picture=True, outside=outside)


def _listed(path: Path) -> list[Path]:
    try:
        lines = text_of(path).splitlines()
    except OSError as error:
        raise DataError(f"{path}: a list of paths that cannot be read ({error.strerror})") from None
    names = [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]
    if not names:
        raise DataError(f"{path}: an empty list; write one path of an image a line")
    upwards = any(".." in Path(name).parts for _, name in names)  # from the real folder, where that lies behind a link
    folder = Path(os.path.realpath(path.parent)) if upwards else path.parent
    found: dict[Path, None] = {}
    faults = []
    for number, name in names:
        try:
            file = absolute(named_path(name, folder))
        except ConfigError as error:
            faults.append(f"{path}, line {number}: {error}")
            continue
        if file in found:
            record_skipped(f"repeated in {path.name}, which is taken once", f"line {number}, {name}")
        found[file] = None
    if faults:
        raise DataError("\n".join(faults))
    refuse_list_from_elsewhere(path, [name for _, name in names], list(found))
    refuse_list_of_another_tree(path, list(found), "correct the list, or put it where its paths start from")
    return list(found)


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
