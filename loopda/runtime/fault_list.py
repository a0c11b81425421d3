"""Long lists of faults in few lines: many of one cause become one line, and all of them stand in a file."""

import re
from collections.abc import Sequence
from pathlib import Path

from loopda.errors import DeviceError
from loopda.runtime.files import write_text
from loopda.text.names import SHOWN

MOST_LINES = 40  # of a message, whatever its causes

# what differs between two faults of one cause: a path (which may have blanks in it), a name of a file, what is quoted,
# numbers
_PATH = r"[^\s:;,('\"`]*/.*?(?=: |; |, | \(|\)$|$)"
_IDS = re.compile(r"\bid (\d+(?:, \d+)*)")
_FILE = r"[\w.-]+\.(?i:png|jpe?g|webp|tiff?|bmp|gif|csv|txt|jsonl?|pth?|ya?ml|np[yz])\b"
_VARIES = re.compile(rf"{_PATH}|'[^']*'|{_FILE}|\d+(?:, \d+)*")


def shortened(message: str, file: Path) -> str:
    """`message`, a line for each fault, with one line for all faults of a cause where they are more than SHOWN.

    Then all lines are written to `file`, which the message names; where that cannot be written, the message stays as it
    was.
    """
    lines = message.splitlines()
    by_cause: dict[str, list[str]] = {}
    for line in lines:
        by_cause.setdefault(_VARIES.sub("…", line), []).append(line)
    if len(lines) <= MOST_LINES and all(len(alike) <= SHOWN for alike in by_cause.values()):
        return message
    try:
        write_text(file, "".join(f"{line}\n" for line in lines))
    except DeviceError:
        return message
    short: list[str] = []
    for line in lines:
        alike = by_cause[_VARIES.sub("…", line)]
        if len(alike) <= SHOWN:
            short.append(line)
        elif line is alike[0]:
            short.append(_of_one_cause(alike, file))
    if len(short) > MOST_LINES:
        short = [*short[:MOST_LINES], f"and {len(short) - MOST_LINES} more lines: all {len(lines)} are in {file}"]
    return "\n".join(short)


def _of_one_cause(alike: Sequence[str], file: Path) -> str:
    first, *others = alike
    parts = _VARIES.findall(first)
    also = []
    for other in dict.fromkeys(others):
        differing = [theirs for its, theirs in zip(parts, _VARIES.findall(other), strict=False) if its != theirs]
        also += differing[:1]
    also = list(dict.fromkeys(also))[: SHOWN - 1]
    such = f", such as {' and '.join(also)}" if also else ""
    ids = [{int(one) for found in _IDS.findall(line) for one in found.split(", ")} for line in alike]
    every = sorted(set().union(*ids))
    together = f", with the ids {', '.join(map(str, every))}" if set(every) != ids[0] else ""
    return f"{first} [{len(alike)} of this kind{such}{together}; all in {file}]"
