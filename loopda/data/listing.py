"""Which files a folder holds: where the readers of data sets look for images.

Folders are read through links, each once, and suffixes in any letters. Hidden files and folders, those that systems
make (trash, thumbnails, what an archive brought along), and what this package wrote are skipped, unless they are named
by themselves. Everything that is skipped is recorded with its cause (`loopda.data.skipped`).
"""

import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from loopda.data.paths import named_parts
from loopda.data.skipped import collect_skipped, record_skipped

RECORD = "predictions.jsonl"
"""The record of predictions (`evaluation.prediction_records`) in a folder of results."""
RESULTS = frozenset(
    {"labels", "colour", "overlay", "legend.png", "labelTrainIds", "labelTrainIds_invalid", "confidence"}
)
"""What lies beside such a record and is no photograph."""

_OF_THE_WORKFLOW = ("results", "logs", "benchmarks")

SYSTEM = frozenset(
    {
        *("@eadir", "@recycle", "@recently-snapshot", "@sharebin", "@tmp", "#recycle", "#snapshot"),  # network disks
        *("$recycle.bin", "recycler", "recycled", "system volume information", "found.000", "lost.dir"),  # Windows
        *("lost+found", "__macosx", "~snapshot"),
    }
)
"""Folders that systems make, in small letters; most others are hidden by their first dot."""

SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
"""Files that systems make, in small letters."""

READ = (".png", ".jpg", ".jpeg")
"""The suffixes of the formats that `loopda.labels.png` opens."""

PICTURES = frozenset(
    {
        *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".jxl", ".webp", ".avif", ".heic", ".heif"),
        *(".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".exr", ".dng"),
    }
)
"""Suffixes of pictures, whether this package reads them or not."""

# the causes for which files are skipped
HIDDEN = "hidden, or in a folder that is hidden or made by the system"
OWN = "results that this package wrote"
LOOP = "links that lead back to a folder above them"
AGAIN = "links to what is read under another name"
BROKEN = "links to nowhere"
UNREADABLE = "folders without the permission to read them"
FOLDER = "folders, though they are named as images"

_MOST_HIDDEN = 20_000  # entries of hidden folders that are looked at, to count the pictures in them


def record_unused(cause: str, folder: Path, pattern: str, used: Iterable[Path]) -> None:
    """Record the files of `folder` that match the glob `pattern` and are not `used`: labels without an image, say."""
    with collect_skipped():  # what lies beside these files is no image, so it is not recorded
        found = files(folder, pattern)
    if found:
        known = {os.path.realpath(path) for path in used}
        record_skipped(cause, *(path for path in found if os.path.realpath(path) not in known))


def record_outside_splits(folder: Path, splits: Sequence[str]) -> None:
    """Record the pictures of `folder` that lie in none of its folders `splits`, which no reader looks at."""
    with collect_skipped():  # what lies beside them is no image either
        beside = sorted(path for path in folder.glob("[!.]*") if path.name not in splits)
        found = [file for path in beside for file in (files(path, "**/*.png") if path.is_dir() else [path])]
    record_skipped(
        f"in none of the folders {', '.join(splits)} of {folder}",
        *(path for path in found if path.suffix.lower() in PICTURES),
    )


def files(folder: Path, pattern: str, *, any_picture: bool = False, outside: Path | None = None) -> list[Path]:
    """The files below `folder` that match the glob `pattern`, sorted; [] where there is no such folder.

    `*`, `?` and `[...]` stand for characters of a name, `**` for any number of folders; a folder whose name has such
    characters is taken by its name. The suffix may be written in any letters. A link to nowhere that matches is listed,
    so that the check of the files finds it; of several paths of one file, the one without a link is taken.
    any_picture: whether only what this package reads as a picture is an image, whatever the pattern says. outside: the
    folder of results that are no images.
    """
    search = _Search(pattern, any_picture, os.path.realpath(outside) if outside else None)
    found = search.run(Path(folder))
    if not found and "[" in search.last:  # a name with brackets in it
        found = _Search(pattern, any_picture, search.outside, brackets=True).run(Path(folder))
    return found


class _Folder(NamedTuple):
    path: Path  # as it was reached
    real: str


class _Search:
    """One walk for the files that match a glob."""

    def __init__(self, pattern: str, any_picture: bool, outside: str | None, *, brackets: bool = False):
        self.pattern = pattern
        *parts, self.last = (f"{pattern}/*" if pattern.endswith("**") else pattern).split("/")
        self.parts = [part for part in parts if part not in ("", ".")]
        self.rule = self.last.replace("[", "[[]") if brackets else self.last
        self.any_picture, self.outside = any_picture, outside
        self.scanned: dict[Path, list[os.DirEntry]] = {}

    def run(self, folder: Path) -> list[Path]:
        if not folder.is_dir():
            return []
        folders = [_Folder(folder, os.path.realpath(folder))]
        for number, part in enumerate(self.parts):
            folders = list(self._next(folders, part, named_parts(folder, self.parts[: number + 1]) == number + 1))
        root = os.path.realpath(folder)
        by_file: dict[str, list[tuple[bool, Path]]] = {}
        for place in folders:
            linked = place.real != os.path.join(root, os.path.relpath(place.path, folder)).removesuffix("/.")
            for entry in self._images(place):
                real = self._real(place, entry)
                if not os.path.exists(real):
                    real = entry.path  # each is a fault of its own
                by_file.setdefault(real, []).append((linked or entry.is_symlink(), Path(entry.path)))
        found = []
        for paths in by_file.values():
            (_, first), *others = sorted(set(paths))
            found.append(first)
            record_skipped(AGAIN, *(path for _, path in others))
        return sorted(found)

    def _next(self, folders: list[_Folder], part: str, named: bool) -> Iterator[_Folder]:
        """The folders that `part` of the pattern leads to from `folders`."""
        if part == "**":
            yield from self._all_below(folders)
            return
        for folder in folders:
            if named:
                path = folder.path / part
                if path.is_dir():
                    yield _Folder(path, os.path.realpath(path))
                continue
            for entry in self._entries(folder):
                if not _is_folder(entry):
                    if self._is_image(entry.name) and not entry.name.startswith("."):
                        record_skipped(f"in no folder that {self.pattern} leads to", entry.path)
                    self._record_broken(entry)
                elif fnmatchcase(entry.name, part) and self._visible(folder, entry, part):
                    yield _Folder(Path(entry.path), self._real(folder, entry))

    def _all_below(self, folders: list[_Folder]) -> Iterator[_Folder]:
        """`folders` and all below them, each real one once: without links first, then what links lead to."""
        seen: set[str] = set()
        links: list[tuple[_Folder, os.DirEntry]] = []

        def below(folder: _Folder) -> Iterator[_Folder]:
            seen.add(folder.real)
            yield folder
            for entry in self._entries(folder):
                if not _is_folder(entry):
                    self._record_broken(entry)
                elif self._visible(folder, entry, "**"):
                    if entry.is_symlink():
                        links.append((folder, entry))
                    elif (inner := self._real(folder, entry)) not in seen:
                        yield from below(_Folder(Path(entry.path), inner))

        for folder in folders:
            if folder.real not in seen:
                yield from below(folder)
        while links:
            folder, entry = links.pop(0)
            real = os.path.realpath(entry.path)
            if folder.real == real or real == "/" or folder.real.startswith(f"{real}/"):
                record_skipped(LOOP, entry.path)
            elif real in seen:
                record_skipped(AGAIN, entry.path)
            else:
                yield from below(_Folder(Path(entry.path), real))

    def _images(self, folder: _Folder) -> Iterator[os.DirEntry]:
        """The entries of `folder` that are images by their names; others that may be images are recorded as skipped."""
        for entry in self._entries(folder):
            suffix = Path(entry.name).suffix.lower()
            matching = self._matches(entry.name)
            if _is_folder(entry):
                if matching and suffix in PICTURES and not entry.name.startswith("."):
                    record_skipped(FOLDER, entry.path)
                if self.parts[-1:] != ["**"] and self._visible(folder, entry, ""):
                    self._record_unreached(_Folder(Path(entry.path), self._real(folder, entry)))
            elif not self._visible(folder, entry, self.last):
                continue
            elif self._is_image(entry.name):
                yield entry
            elif self._record_broken(entry):
                continue
            elif matching:
                record_skipped(f"not named as a PNG or JPEG image ({', '.join(READ)})", entry.path)
            elif suffix in PICTURES and self._matches(f"{Path(entry.name).stem}{Path(self.last).suffix}"):
                record_skipped(f"of another format than {self.last}", entry.path)
            elif suffix in PICTURES and not self.any_picture:
                record_skipped(f"not named as {self.last}", entry.path)

    def _record_unreached(self, folder: _Folder) -> None:
        for entry in self._entries(folder):
            if not entry.name.startswith(".") and self._is_image(entry.name) and not _is_folder(entry):
                record_skipped(f"in a folder that {self.pattern} does not lead to (`**/` leads to all)", entry.path)

    def _is_image(self, name: str) -> bool:
        return self._matches(name) and (not self.any_picture or Path(name).suffix.lower() in READ)

    def _matches(self, name: str) -> bool:
        """Whether the last part of the pattern means a file of this name, its suffix in any letters."""
        if fnmatchcase(name, self.rule):
            return True
        stem, _, suffix = name.rpartition(".")
        of_stem, dot, of_suffix = self.rule.rpartition(".")
        return bool(dot) and fnmatchcase(stem, of_stem) and fnmatchcase(suffix.lower(), of_suffix.lower())

    def _visible(self, folder: _Folder, entry: os.DirEntry, part: str) -> bool:
        """Whether an entry that `part` of the pattern means is neither hidden nor a result; else it is recorded."""
        cause = ""
        hidden = entry.name.startswith(".") or entry.name.lower() in (SYSTEM if _is_folder(entry) else SYSTEM_FILES)
        if hidden and part[:1] != entry.name[:1]:
            cause = HIDDEN
        elif self._is_result(folder, entry):
            cause = OWN
        if cause:
            record_skipped(cause, *self._pictures(entry))
        return not cause

    def _is_result(self, folder: _Folder, entry: os.DirEntry) -> bool:
        if self.outside and _is_folder(entry) and self._real(folder, entry) == self.outside:
            return True
        if entry.name in RESULTS:
            return is_record(folder.path / RECORD)
        if entry.name in _OF_THE_WORKFLOW and _is_folder(entry):
            made_here = any(other.name == ".snakemake" for other in self._entries(folder))
            return made_here or any(folder.path.glob("results/prepare/*/summary.json"))
        return False

    def _pictures(self, entry: os.DirEntry) -> Iterator[Path]:
        """The pictures that an entry which is left out is, or holds."""
        if not _is_folder(entry):
            if Path(entry.name).suffix.lower() in PICTURES or (self._matches(entry.name) and not self.any_picture):
                yield Path(entry.path)
            return
        inside = (Path(folder, name) for folder, _, names in os.walk(entry.path) for name in names)
        pictures = (path for path in itertools.islice(inside, _MOST_HIDDEN) if path.suffix.lower() in PICTURES)
        yield from sorted(pictures)

    def _record_broken(self, entry: os.DirEntry) -> bool:
        """Whether an entry that is no image is a link to nowhere, which is recorded: it may have led to a folder."""
        broken = entry.is_symlink() and not os.path.exists(entry.path) and not entry.name.startswith(".")
        if broken and not self._is_image(entry.name):
            record_skipped(BROKEN, entry.path)
        return broken

    def _real(self, folder: _Folder, entry: os.DirEntry) -> str:
        return os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(folder.real, entry.name)

    def _entries(self, folder: _Folder) -> list[os.DirEntry]:
        """What lies in a folder, sorted; nothing where it may not be read, which is recorded."""
        if folder.path not in self.scanned:
            try:
                with os.scandir(folder.path) as entries:
                    self.scanned[folder.path] = sorted(entries, key=lambda entry: entry.name)
            except PermissionError:
                record_skipped(UNREADABLE, folder.path)
                self.scanned[folder.path] = []
        return self.scanned[folder.path]


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def is_record(path: Path) -> bool:
    """Whether a file is the record of predictions that `evaluation.prediction_records` writes."""
    with suppress(OSError, ValueError), open(path, encoding="utf-8") as file:
        head = json.loads(file.readline())
        return isinstance(head, dict) and "by" in head
    return False
