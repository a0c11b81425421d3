"""The worked examples of CONTRIBUTING.md, and a copy of the project in which they are tried."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def page() -> str:
    """The text of CONTRIBUTING.md."""
    return (ROOT / "CONTRIBUTING.md").read_text()


def blocks(title: str) -> dict[str, list[str]]:
    """The blocks of code in the section of the page that begins with `title`, by language."""
    (section,) = re.findall(rf"^## {title}.*?(?=^## |\Z)", page(), flags=re.MULTILINE | re.DOTALL)
    found: dict[str, list[str]] = {}
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL):
        found.setdefault(language, []).append(text)
    return found


def copy_project(folder: Path, *names: str) -> Path:
    """Copy the files and folders `names` of the project into `folder`, and return it."""
    for name in names:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder)
    return folder


def run_in(folder: Path, *words: object, code: int = 0) -> str:
    """Run Python on the copy of the project in `folder`, which has to exit with `code`; what it prints."""
    process = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == code, process.stdout[-2000:] + process.stderr[-4000:]
    return process.stdout if code == 0 else process.stderr


def insert(path: Path, before: str, added: str, *, after: str = "") -> None:
    """Insert `added` into a file, before the first `before` that follows the text `after`."""
    text = path.read_text()
    place = text.index(before, text.index(after))
    path.write_text(text[:place] + added + text[place:])
