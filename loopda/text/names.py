"""Names of files: short enough for every file system, and fit to be stored in tables and shown to people."""

import hashlib
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

MOST_BYTES = 200  # of a name that a configuration chooses: 255 is the limit of file systems, and suffixes are added
SHOWN = 3  # examples in a message
CONTROL = ("Cc", "Zl", "Zp")  # Unicode's categories of control characters and of what breaks a line


def bounded(name: str, most: int = MOST_BYTES) -> str:
    """`name`, where it has at most `most` bytes; else its beginning and a digest of the whole."""
    content = os.fsencode(name)
    if len(content) <= most:
        return name
    digest = hashlib.sha256(content).hexdigest()[:8]
    return f"{content[: most - 9].decode('utf-8', 'ignore')}-{digest}"


def printable(text: object) -> str:
    """`text` on one line of UTF-8: control characters, and bytes of a name that are not UTF-8, are escaped."""
    return "".join(
        character
        if unicodedata.category(character) not in (*CONTROL, "Cs")
        else character.encode("unicode_escape", "surrogatepass").decode().replace("\\udc", "\\x")
        for character in str(text)
    )


def has_control_characters(path: Path | str) -> bool:
    """Whether a line break or another control character is in the path."""
    return any(unicodedata.category(character) in CONTROL for character in str(path))


def faults_of_names(paths: Iterable[Path]) -> list[str]:
    """Why some of `paths` cannot be stored in a table that every process reads alike: a line for each reason."""
    at_fault = defaultdict(list)
    for path in sorted(set(paths)):
        if not _is_utf8(str(path)):
            at_fault["that is not UTF-8; rename (`convmv -f latin1 -t utf8 -r` renames a whole folder)"].append(path)
        elif has_control_characters(path):
            at_fault["with a line break or another control character; rename"].append(path)
        elif str(path) != str(path).strip():
            at_fault["with a blank at the end of the path; rename"].append(path)
    return [f"{examples(found)}: a name {why}" for why, found in at_fault.items()]


def examples(things: Sequence[object]) -> str:
    """The first SHOWN of `things`, such as paths, on one line, and how many more there are."""
    more = f" and {len(things) - SHOWN} more" if len(things) > SHOWN else ""
    return ", ".join(map(printable, things[:SHOWN])) + more


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
