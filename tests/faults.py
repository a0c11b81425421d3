"""The table of faults with the tests that inject them: `python -m tests.faults` writes docs/faults.md.

The faults are in faults.csv. A test has the mark `@pytest.mark.fault(number, "how it ends")` for each that it injects.
"""

import ast
import csv
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "faults.md"

HEAD = """# Faults

What can happen to a training of several days on machines and clusters, how it must end, and the tests that inject it.
Each kind of end has its exit code: 2 configuration, 3 data, 4 device, memory or disk, 5 numbers that are not finite, 75
stopped by a signal with everything saved (only this one is worth an automatic retry), 1 a bug.

`python -m tests.soak --interruptions 100` injects several faults at random until the pipeline is done, and compares
every file with those of an undisturbed run. `python -m tests.faults` writes this page: change `tests/faults.csv`, or
the marks of the tests."""


class Fault(NamedTuple):
    """A row of faults.csv. elsewhere: why no test here injects it, or only a part of it; "" where a test does."""

    number: int
    fault: str
    expected: str
    elsewhere: str


class Injected(NamedTuple):
    """A test that injects fault `number`, and the outcome that it checks."""

    number: int
    outcome: str
    path: Path
    test: str


def faults() -> list[Fault]:
    """Every fault, by number."""
    with open(TESTS / "faults.csv", newline="", encoding="utf-8") as file:
        return [Fault(int(row.pop("number")), **row) for row in csv.DictReader(file)]


def injections() -> list[Injected]:
    """Every mark `fault` of every test, read without running the tests."""
    found = []
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            for call in getattr(node, "decorator_list", []):
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.fault":
                    number, outcome = (ast.literal_eval(argument) for argument in call.args)
                    found.append(Injected(number, outcome, path.relative_to(TESTS.parent), node.name))
    return found


def page() -> str:
    """The text of docs/faults.md."""
    by_number = defaultdict(list)
    for injection in injections():
        by_number[injection.number].append(injection)
    lines = [HEAD]
    for fault in faults():
        lines += [
            "",
            f"## {fault.number}. {fault.fault[0].upper()}{fault.fault[1:]}",
            "",
            f"Must end so: {fault.expected}.",
        ]
        tests = [f"- {test.outcome}: `{test.path.as_posix()}`, `{test.test}`" for test in by_number[fault.number]]
        lines += ["", *tests] if tests else []
        lines += ["", fault.elsewhere] if fault.elsewhere else []
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
