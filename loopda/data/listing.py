"""What lies in a folder, and what a list of names says: where the readers of data sets look for images."""

from pathlib import Path

from loopda.errors import DataError
from loopda.text import read_text


def files(folder: Path, pattern: str) -> list[Path]:
    """The files below `folder` that match the glob `pattern`, sorted; [] where there is no such folder.

    Hidden files are left out: some archivers put one beside each file. A link to nowhere is listed, so that the
    check of the files finds it.
    """
    return sorted(path for path in Path(folder).glob(pattern) if not path.name.startswith(".") and not path.is_dir())


def read_names(path: Path) -> list[tuple[int, str]]:
    """(line number, name) of a text file with one name a line; blank lines are left out.

    DataError where the file is missing, not UTF-8, or empty.
    """
    try:
        lines = read_text(path).splitlines()
    except OSError as error:
        raise DataError(f"{path}: no such list of names ({error.strerror}); correct the path") from None
    names = [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]
    if not names:
        raise DataError(f"{path}: no names in it; it must hold one name a line")
    return names
