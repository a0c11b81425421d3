"""Paths as people write them: capitals in a suffix, ~ and variables, backslashes, links, folders as patterns."""

import itertools
import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from loopda.config import expanded
from loopda.text.names import SHOWN


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
    for form in dict.fromkeys(forms):
        for letters in itertools.product(*({letter, letter.lower(), letter.upper()} for letter in form.suffix)):
            other = form.with_name(form.stem + "".join(letters)) if form.name else form
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
    """Whether there are more than SHOWN files and none of them exists: that has one cause, which one message names."""
    return len(paths) > SHOWN and len(missing(paths)) == len(dict.fromkeys(paths))
