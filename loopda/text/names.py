"""Names of files: short enough for every file system, and valid in tables, messages and logs."""

import hashlib
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

MOST_BYTES = 200  # of a name from the configuration: file systems allow 255, and suffixes are added
SHOWN = 3  # examples in a message
CONTROL = ("Cc", "Zl", "Zp")  # Unicode categories of control characters and line separators


def bounded(name: str, most: int = MOST_BYTES) -> str:
    """`name`, if it has at most `most` bytes; otherwise its beginning and a digest of the whole."""
    content = os.fsencode(name)
    if len(content) <= most:
        return name
    digest = hashlib.sha256(content).hexdigest()[:8]
    return f"{content[: most - 9].decode('utf-8', 'ignore')}-{digest}"


def printable(text: object) -> str:
    """`text` on one line of valid UTF-8: control characters, and bytes of a name that are not UTF-8, are escaped."""
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
    """Why some of `paths` cannot be stored in a table: one line per reason."""
    invalid = defaultdict(list)
    for path in sorted(set(paths)):
        if not _is_utf8(str(path)):
            invalid["that is not UTF-8; rename (`convmv -f latin1 -t utf8 -r` renames a whole folder)"].append(path)
        elif has_control_characters(path):
            invalid["with a line break or another control character; rename"].append(path)
        elif str(path) != str(path).strip():
            invalid["with a blank at the end of the path; rename"].append(path)
    return [f"{examples(found)}: a name {why}" for why, found in invalid.items()]


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
