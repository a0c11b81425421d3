"""Short messages for long lists of faults: one line per cause, and a file with the complete list."""

import re
from collections.abc import Sequence
from pathlib import Path

from loopda.errors import DeviceError
from loopda.runtime.files import write_text
from loopda.text.names import SHOWN

MOST_LINES = 40  # of a message

# the parts in which two faults of one cause differ: paths (which may have blanks), names of files, quoted text, numbers
_PATH = r"[^\s:;,('\"`]*/.*?(?=: |; |, | \(|\)$|$)"
_IDS = re.compile(r"\bid (\d+(?:, \d+)*)")
_FILE = r"[\w.-]+\.(?i:png|jpe?g|webp|tiff?|bmp|gif|csv|txt|jsonl?|pth?|ya?ml|np[yz])\b"
_VARIES = re.compile(rf"{_PATH}|'[^']*'|{_FILE}|\d+(?:, \d+)*")


def shortened(message: str, file: Path) -> str:
    """Shorten `message`, which has one line per fault: a cause with more than SHOWN faults becomes one line.

    The complete list is then written to `file`, which the short message names. If `file` cannot be written, the message
    stays complete.
    """
    lines = message.splitlines()
    by_cause: dict[str, list[str]] = {}
    for line in lines:
        by_cause.setdefault(_VARIES.sub("…", line), []).append(line)
    if len(lines) <= MOST_LINES and all(len(same_cause) <= SHOWN for same_cause in by_cause.values()):
        return message
    try:
        write_text(file, "".join(f"{line}\n" for line in lines))
    except DeviceError:
        return message
    short: list[str] = []
    for line in lines:
        same_cause = by_cause[_VARIES.sub("…", line)]
        if len(same_cause) <= SHOWN:
            short.append(line)
        elif line is same_cause[0]:
            short.append(_summary(same_cause, file))
    if len(short) > MOST_LINES:
        short = [*short[:MOST_LINES], f"and {len(short) - MOST_LINES} more lines: all {len(lines)} are in {file}"]
    return "\n".join(short)


def _summary(same_cause: Sequence[str], file: Path) -> str:
    first, *others = same_cause
    parts = _VARIES.findall(first)
    examples_of_others = []
    for other in dict.fromkeys(others):
        differing = [part for before, part in zip(parts, _VARIES.findall(other), strict=False) if part != before]
        examples_of_others += differing[:1]
    also = list(dict.fromkeys(examples_of_others))[: SHOWN - 1]
    such = f", such as {' and '.join(also)}" if also else ""
    ids = [{int(number) for found in _IDS.findall(line) for number in found.split(", ")} for line in same_cause]
    every = sorted(set().union(*ids))
    together = f", with the ids {', '.join(map(str, every))}" if set(every) != ids[0] else ""
    return f"{first} [{len(same_cause)} of this kind{such}{together}; all in {file}]"
