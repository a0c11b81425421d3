"""Lists and tables that a user writes: one name a line, or a CSV; and whether the files that they name are there."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from loopda.data.paths import from_folder, missing
from loopda.data.skipped import record_skipped
from loopda.errors import DataError
from loopda.text.encoding import read_text
from loopda.text.names import SHOWN, examples


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
            record_skipped(f"repeated in {Path(path).name}, which is taken once", f"line {number}, {name}")
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


def read_table(
    path: Path, required: Sequence[str], optional: Sequence[str] = (), *, remedy: str, empty: bool = False
) -> tuple[list[tuple[int, dict[str, str]]], list[str]]:
    """Read a CSV with a header line: ([(line number, {column: field})], faults), blank lines left out.

    All `required` columns must be there, `optional` ones may be (their fields are "" otherwise), and no others; the
    header's letters may be capitals. A row with too few or too many fields is a fault and not among the rows.
    DataError, which ends in the `remedy`, where no row can be read at all: no file, not a CSV, wrong columns, nothing
    below the header (unless it may be `empty`).
    """
    try:
        numbered = [(number, fields) for number, fields in read_fields(path) if fields]
    except FileNotFoundError:
        raise DataError(f"{path}: no such table; {remedy}") from None
    except DataError as error:
        raise DataError(f"{error}; {remedy}") from None
    except (OSError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV table: {error}; {remedy}") from None
    header = [name.lower() for name in numbered[0][1]] if numbered else []
    if not set(required) <= set(header) <= {*required, *optional} or len(set(header)) != len(header):
        wanted = ",".join(required) + "".join(f"[,{name}]" for name in optional)
        raise DataError(f"{path}: the first line must name the columns {wanted}, not {','.join(header)!r}; {remedy}")
    if len(numbered) == 1 and not empty:
        raise DataError(f"{path}: no rows below the header; {remedy}")
    lines, faults = [], []
    blank = dict.fromkeys([*required, *optional], "")
    for number, fields in numbered[1:]:
        if len(fields) == len(header):
            lines.append((number, blank | dict(zip(header, fields, strict=True))))
        else:
            faults.append(
                f"{path}, line {number}: {len(fields)} fields, but the header names {len(header)}; put a path with"
                " commas in it in quotes, and leave a field that is not there empty"
            )
    return lines, faults


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
