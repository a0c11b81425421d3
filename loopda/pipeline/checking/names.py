"""What is wrong with names that files are called by."""

import re
from collections.abc import Iterable

from loopda.pipeline.experiments import FULL_SIZE
from loopda.pipeline.stages import MEASURED, SETS
from loopda.text.names import MOST_BYTES


def faults_of_length(name: str) -> list[str]:
    """One line where the name is too long for the files that are called by it; [] elsewhere."""
    size = len(name.encode())
    return [f"a name of {size} bytes; files are called by it, choose one of at most {MOST_BYTES}"] * (size > MOST_BYTES)


def faults_of_case(names: Iterable[str]) -> list[str]:
    """A line for experiments whose results are in one folder on a disk that ignores capital letters."""
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(str(name).casefold(), []).append(str(name))
    return [
        f"experiments: {' and '.join(same)} differ in capital letters alone, which some disks do not tell apart; rename"
        for same in alike.values()
        if len(same) > 1
    ]


def faults_of_set_names(names: Iterable[str]) -> list[str]:
    """A line for each wrong name among those of data.night_tests, which files and columns of tables are called by."""
    faults = []
    for name in names:
        if not re.fullmatch(r"[\w-]+", name):
            faults.append(f"the name {name!r}: names have letters, digits, '_' and '-' alone")
        elif too_long := faults_of_length(name):
            faults += [f"the name {name!r}: {fault}" for fault in too_long]
        elif name in (*SETS, *MEASURED) or name.endswith(FULL_SIZE):
            faults.append(f"the name {name!r} is taken; choose another")
    return faults
