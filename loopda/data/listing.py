"""What lies in a folder, and what a list of names says: where the readers of data sets look for images.

Folders are read through links, each once, and suffixes in any letters. Hidden files and folders, those that systems
make (trash, thumbnails, what an archive brought along), and what this package wrote are left out, unless they are named
by themselves. Everything that is left out is noted with its cause, for whoever listens (`noting`).
"""

import csv
import io
import itertools
import json
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from loopda.config import expanded
from loopda.errors import DataError
from loopda.text.encoding import read_text
from loopda.text.names import SHOWN, examples

RECORD = "predictions.jsonl"
"""What the stages that predict write of their results (`evaluation.records`), at the head of the folder of these."""
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

PICTURES = frozenset(
    {
        *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".jxl", ".webp", ".avif", ".heic", ".heif"),
        *(".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".exr", ".dng"),
    }
)
"""Suffixes of pictures, of which this package reads PNG and JPEG (`labels.png`)."""

HIDDEN = "hidden, or in a folder that is hidden or made by the system"
OWN = "results that this package wrote"
LOOP = "links that lead back to a folder above them"
AGAIN = "links to what is read under another name"
BROKEN = "links to nowhere"
UNREADABLE = "folders without the permission to read them"
FOLDER = "folders, though they are named as images"
_MOST_HIDDEN = 20_000  # entries of hidden folders that are looked at, to count the pictures in them


class LeftOut:
    """What was left out, by cause, in the order in which it was met."""

    def __init__(self) -> None:
        self.by_cause: dict[str, dict[str, None]] = {}

    def add(self, cause: str, *what: Path | str) -> None:
        """Note `what` was left out; each counts once."""
        self.by_cause.setdefault(cause, {}).update(dict.fromkeys(map(str, what)))

    def forget(self, paths: Iterable[Path]) -> None:
        """Drop `paths`: they were not left out after all."""
        known = set(map(str, paths))
        for cause, what in self.by_cause.items():
            self.by_cause[cause] = {one: None for one in what if one not in known}

    def lines(self) -> list[str]:
        """A line for each cause: how many, why, and examples."""
        return [
            f"{len(what)} left out, {cause}: {examples(list(what))}" for cause, what in self.by_cause.items() if what
        ]


_listener: ContextVar[LeftOut | None] = ContextVar("left out", default=None)


@contextmanager
def noting() -> Iterator[LeftOut]:
    """What the functions of this module leave out while the block runs."""
    found = LeftOut()
    token = _listener.set(found)
    try:
        yield found
    finally:
        _listener.reset(token)


def leave_out(cause: str, *what: Path | str) -> None:
    """Note `what` was left out, if anyone listens."""
    if what and (listener := _listener.get()) is not None:
        listener.add(cause, *what)


def with_left_out(message: str) -> str:
    """`message`, that nothing was found, with a line for each cause of what was left out meanwhile, if anyone listens
    to that."""
    listener = _listener.get()
    return "\n".join([message, *(listener.lines() if listener else ())])


def pass_on(found: LeftOut) -> None:
    """Note what is `found`, if anyone listens."""
    for cause, what in found.by_cause.items():
        leave_out(cause, *what)


def leave_out_unused(cause: str, folder: Path, pattern: str, used: Iterable[Path]) -> None:
    """Note the files of `folder` that match the glob `pattern` and are not `used`: labels without an image, say."""
    with noting():  # what lies beside these files is no image, and not to be noted
        found = files(folder, pattern)
    if found:
        known = {os.path.realpath(path) for path in used}
        leave_out(cause, *(path for path in found if os.path.realpath(path) not in known))


def leave_out_beside(folder: Path, splits: Sequence[str]) -> None:
    """Note the pictures of `folder` that lie in none of its folders `splits`, which no reader looks at."""
    with noting():  # what lies beside them is no image either
        beside = sorted(path for path in folder.glob("[!.]*") if path.name not in splits)
        found = [one for path in beside for one in (files(path, "**/*.png") if path.is_dir() else [path])]
    leave_out(
        f"in none of the folders {', '.join(splits)} of {folder}",
        *(path for path in found if path.suffix.lower() in PICTURES),
    )


def files(folder: Path, pattern: str, *, any_picture: bool = False, outside: Path | None = None) -> list[Path]:
    """The files below `folder` that match the glob `pattern`, sorted; [] where there is no such folder.

    `*`, `?` and `[...]` stand for characters of a name, `**` for any number of folders; a folder whose name has such
    characters is taken by its name. The suffix may be written in any letters. A link to nowhere that matches is listed,
    so that the check of the files finds it; of several paths of one file that which needs no link is taken.
    any_picture: whether only what this package reads as a picture is an image, whatever the pattern says. outside: the
    folder of results that are no images.
    """
    search = _Search(pattern, any_picture, os.path.realpath(outside) if outside else None)
    found = search.run(Path(folder))
    if not found and "[" in search.last:  # a name with brackets in it
        found = _Search(pattern, any_picture, search.outside, brackets=True).run(Path(folder))
    return found


def is_pattern(part: str) -> bool:
    """Whether a part of a path has a wildcard."""
    return any(character in part for character in "*?[")


def named_parts(folder: Path, parts: Sequence[str]) -> int:
    """How many of the first `parts` of a glob below `folder` name folders, instead of being patterns."""
    for number, part in enumerate(parts):
        if part == "**" or (is_pattern(part) and not Path(folder, *parts[: number + 1]).is_dir()):
            return number
    return len(parts)


def existing(path: Path) -> Path:
    """`path`; where there is no such file, the one whose suffix has other letters (a.PNG for a.png), or whose accented
    letters are stored in the other of Unicode's two forms, as macOS and its archives do, if there is."""
    if os.path.lexists(path):
        return path
    forms = [
        path,
        *(Path(unicodedata.normalize(form, str(path))) for form in ("NFC", "NFD") if not str(path).isascii()),
    ]
    for one in dict.fromkeys(forms):
        for letters in itertools.product(*({letter, letter.lower(), letter.upper()} for letter in one.suffix)):
            other = one.with_name(one.stem + "".join(letters)) if one.name else one
            if os.path.lexists(other):
                return other
    return path


def named_path(text: str, folder: Path) -> Path:
    """The file that a table or list in `folder` means by `text`: absolute, or relative to `folder`.

    A leading ~ and $VARIABLES are filled in, and backslashes are taken for / where there is no file with such a name.
    ConfigError as `expanded`, of a path of another machine too.
    """
    path = folder / expanded(text, folder)
    if "\\" in text and not os.path.lexists(path):
        path = folder / expanded(text.replace("\\", "/"), folder)
    return existing(path)


def absolute(path: Path | str) -> Path:
    """`path` from the root on, without `..`, which leads out of the real folder where a link leads into it."""
    path = Path(path)
    if ".." in path.parts:
        return Path(os.path.realpath(path.parent), path.name) if path.name != ".." else Path(os.path.realpath(path))
    return Path(os.path.abspath(path))


def from_folder(file: Path, folder: Path) -> str:
    """The relative path of `file` that leads to it from `folder`, whatever links `folder` lies behind."""
    return os.path.relpath(absolute(file), os.path.realpath(folder))


def missing(paths: Iterable[Path]) -> list[Path]:
    """Those of `paths` that are not there."""
    return [path for path in dict.fromkeys(paths) if not path.exists()]


def none_is_there(paths: Sequence[Path]) -> bool:
    """Whether of more than a few files none is there, which has one cause."""
    return len(paths) > SHOWN and len(missing(paths)) == len(dict.fromkeys(paths))


def refuse_list_of_another_tree(names: Path, paths: Sequence[Path], remedy: str) -> None:
    """DataError where most of the files `paths` that the list `names` means are not there: one line says so, and where
    some are there, one for each of the others."""
    absent, count = missing(paths), len(dict.fromkeys(paths))
    if len(absent) <= SHOWN or 2 * len(absent) <= count:
        return
    lines = [
        f"{names}: of the {count} files that it names {len(absent)} are not there, such as {examples(absent)}: it"
        f" belongs to another tree; {remedy}"
    ]
    if len(absent) < count:
        lines += [f"{path}: no such file, but {names.name} names it" for path in absent]
    raise DataError("\n".join(lines))


def refuse_list_from_elsewhere(names: Path, texts: Sequence[str], paths: Sequence[Path]) -> None:
    """DataError where none of the files `paths` is there, which the list `names` means by `texts`, but all of them are
    where the same texts start from the working directory."""
    if texts and not any(path.exists() for path in paths) and all(Path(text).exists() for text in texts):
        raise DataError(
            f"{names}: its paths start from its own folder, where there is no {texts[0]}; from the working directory"
            f" there is: write {from_folder(Path(texts[0]), names.parent)}, or move the list"
        )


def text_of(path: Path) -> str:
    """The text of a list or table, lines ending in a line feed: UTF-8, or UTF-16 where its first bytes say so, as
    spreadsheet programs write it.

    DataError with the line where it is no such text; OSError passes.
    """
    data = Path(path).read_bytes()
    if data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        return read_text(path)
    try:
        return data.decode("utf-16").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        raise DataError(f"{path}: a damaged text in UTF-16; save it as UTF-8") from None


def read_names(path: Path) -> list[tuple[int, str]]:
    """(line number, name) of a text file with one name a line; blank lines are left out, and repeated names.

    DataError where the file is missing, not UTF-8, or empty.
    """
    try:
        lines = text_of(path).splitlines()
    except OSError as error:
        raise DataError(f"{path}: no such list of names ({error.strerror}); correct the path") from None
    first: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        name = line.strip().replace("\\", "/")
        if name and first.setdefault(name, number) != number:
            leave_out(f"repeated in {Path(path).name}, which is taken once", f"line {number}, {name}")
    if not first:
        raise DataError(f"{path}: no names in it; it must hold one name a line")
    return [(number, name) for name, number in first.items()]


def read_fields(path: Path) -> list[tuple[int, list[str]]]:
    """(line number, fields without blanks around them) of each line of a CSV; a blank line has no fields.

    The separator is a comma, or the semicolon or tab that the first line has instead of one. OSError,
    DataError and csv.Error where it is no such table in UTF-8, or the UTF-16 of spreadsheet programs.
    """
    text = text_of(path)
    skipped = 0
    separator = ","
    head, _, rest = text.partition("\n")
    if re.fullmatch(r"sep=[;,\t]", head.strip(" ")):  # for spreadsheet programs
        separator, text, skipped = head.strip(" ")[-1], rest, 1
    else:
        first = next((line for line in text.split("\n") if line.strip()), "")
        others = [mark for mark in (";", "\t") if mark in first]
        if "," not in first and len(others) == 1:
            [separator] = others
    text = re.sub(rf'" +(?={separator}|$)', '"', text, flags=re.MULTILINE)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True)
    return [(reader.line_num + skipped, [field.strip() for field in fields]) for fields in reader]


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
            leave_out(AGAIN, *(path for _, path in others))
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
                        leave_out(f"in no folder that {self.pattern} leads to", entry.path)
                    self._note_broken(entry)
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
                    self._note_broken(entry)
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
                leave_out(LOOP, entry.path)
            elif real in seen:
                leave_out(AGAIN, entry.path)
            else:
                yield from below(_Folder(Path(entry.path), real))

    def _images(self, folder: _Folder) -> Iterator[os.DirEntry]:
        """The entries of `folder` that are images by their names; what else could be one is noted."""
        for entry in self._entries(folder):
            suffix = Path(entry.name).suffix.lower()
            matching = self._matches(entry.name)
            if _is_folder(entry):
                if matching and suffix in PICTURES and not entry.name.startswith("."):
                    leave_out(FOLDER, entry.path)
                if self.parts[-1:] != ["**"] and self._visible(folder, entry, ""):
                    self._note_unreached(_Folder(Path(entry.path), self._real(folder, entry)))
            elif not self._visible(folder, entry, self.last):
                continue
            elif self._is_image(entry.name):
                yield entry
            elif self._note_broken(entry):
                continue
            elif matching:
                leave_out(f"not named as a PNG or JPEG image ({', '.join(READ)})", entry.path)
            elif suffix in PICTURES and self._matches(f"{Path(entry.name).stem}{Path(self.last).suffix}"):
                leave_out(f"of another format than {self.last}", entry.path)
            elif suffix in PICTURES and not self.any_picture:
                leave_out(f"not named as {self.last}", entry.path)

    def _note_unreached(self, folder: _Folder) -> None:
        for entry in self._entries(folder):
            if not entry.name.startswith(".") and self._is_image(entry.name) and not _is_folder(entry):
                leave_out(f"in a folder that {self.pattern} does not lead to (`**/` leads to all)", entry.path)

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
        """Whether an entry that `part` of the pattern stands for is neither hidden nor a result; noted where it is."""
        cause = ""
        hidden = entry.name.startswith(".") or entry.name.lower() in (SYSTEM if _is_folder(entry) else SYSTEM_FILES)
        if hidden and part[:1] != entry.name[:1]:
            cause = HIDDEN
        elif self._is_result(folder, entry):
            cause = OWN
        if cause:
            leave_out(cause, *self._pictures(entry))
        return not cause

    def _is_result(self, folder: _Folder, entry: os.DirEntry) -> bool:
        if self.outside and _is_folder(entry) and self._real(folder, entry) == self.outside:
            return True
        if entry.name in RESULTS:
            return is_record(folder.path / RECORD)
        if entry.name in _OF_THE_WORKFLOW and _is_folder(entry):
            made_here = any(one.name == ".snakemake" for one in self._entries(folder))
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

    def _note_broken(self, entry: os.DirEntry) -> bool:
        """Whether an entry that is no image is a link to nowhere, which is noted: it may have led to a folder."""
        broken = entry.is_symlink() and not os.path.exists(entry.path) and not entry.name.startswith(".")
        if broken and not self._is_image(entry.name):
            leave_out(BROKEN, entry.path)
        return broken

    def _real(self, folder: _Folder, entry: os.DirEntry) -> str:
        return os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(folder.real, entry.name)

    def _entries(self, folder: _Folder) -> list[os.DirEntry]:
        """What lies in a folder, sorted; nothing where it may not be read, which is noted."""
        if folder.path not in self.scanned:
            try:
                with os.scandir(folder.path) as entries:
                    self.scanned[folder.path] = sorted(entries, key=lambda entry: entry.name)
            except PermissionError:
                leave_out(UNREADABLE, folder.path)
                self.scanned[folder.path] = []
        return self.scanned[folder.path]


READ = (".png", ".jpg", ".jpeg")
"""The suffixes of the formats that `loopda.labels.png` opens."""


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def is_record(path: Path) -> bool:
    """Whether a file is the record of predictions that `evaluation.records` writes."""
    with suppress(OSError, ValueError), open(path, encoding="utf-8") as file:
        head = json.loads(file.readline())
        return isinstance(head, dict) and "by" in head
    return False
