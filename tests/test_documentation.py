"""The documentation names only files, modules, targets and links that exist."""

import re
from pathlib import Path

import pytest

from loopda.pipeline.experiments import COMPARISONS

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "config.yaml")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "workflow").rglob("*.md")),
    *sorted((ROOT / "workflow").rglob("*.yaml")),
]
EXAMPLES = {"loopda/methods/coral.py", "loopda/stages/refine.py", "workflow/config/X.yaml"}  # files that a reader makes

# no "/" before it: in results/warmup/loopda/seed0, `loopda` is an experiment
FILE = re.compile(r"(?<![\w./-])(?:loopda|workflow|scripts|docs|tests)/[\w./-]*[\w/](?![\w<*{])")
MODULE = re.compile(r"python -m ((?:loopda|tests)(?:\.\w+)*)(?!\.?[\w<])")
NAME = re.compile(r"`((?:loopda|tests)(?:\.\w+)+)")
TARGET = re.compile(
    r"(?:^ {4}|^#  +|[`(])snakemake ([a-z_]+)(?= --| \.\.\.|[`,)]|$)", re.MULTILINE
)  # in a command, not in a sentence
LINK = re.compile(r"\]\(([^)#:\s]+)\)")


def is_module(name: str) -> bool:
    """Whether `python -m name` finds a file."""
    place = ROOT.joinpath(*name.split("."))
    return place.with_suffix(".py").is_file() or (place / "__main__.py").is_file()


def is_defined(name: str) -> bool:
    """Whether a dotted name is a package, a module, or a name in one."""
    place, parts = ROOT, name.split(".")
    while parts and (place / parts[0]).is_dir():
        place /= parts.pop(0)
    if not parts:
        return True
    module = place / f"{parts[0]}.py"
    text = (module if module.is_file() else place / "__init__.py").read_text(encoding="utf-8")
    inside = parts[1:] if module.is_file() else parts
    return all(re.search(rf"\b{part}\b", text) for part in inside)


def targets() -> set[str]:
    """The rules that a command may name."""
    files = [ROOT / "Snakefile", *(ROOT / "workflow/rules").glob("*.smk")]
    found = [re.findall(r"^rule (\w+):", path.read_text(encoding="utf-8"), re.MULTILINE) for path in files]
    return {name for names in found for name in names} | set(COMPARISONS)


def missing(text: str, folder: Path = ROOT) -> list[str]:
    """What the `text` of a page names and the repository does not have. folder: that of the page, for its links."""
    found = [path for path in FILE.findall(text) if path not in EXAMPLES and not (ROOT / path).exists()]
    found += [name for name in MODULE.findall(text) if not is_module(name)]
    found += [name for name in NAME.findall(text) if not is_defined(name)]
    found += [name for name in TARGET.findall(text) if name not in targets()]
    return found + [link for link in LINK.findall(text) if not (folder / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_page_names_exists(page):
    assert missing(page.read_text(encoding="utf-8"), page.parent) == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("the code is in `loopda/gone.py`.", "loopda/gone.py"),
        ("its folder, `loopda/gone/`, holds", "loopda/gone/"),
        ("(tests/stages/test_gone.py)", "tests/stages/test_gone.py"),
        ("--configfile workflow/config/gone.yaml", "workflow/config/gone.yaml"),
        ("    python -m loopda.stages.gone --out x", "loopda.stages.gone"),
        ("`loopda.runtime.distributed.gone(total)`", "loopda.runtime.distributed.gone"),
        ("    snakemake gone --cores all", "gone"),
        ("`snakemake gone` makes it", "gone"),
        ("[results](docs/gone.md)", "docs/gone.md"),
    ],
)
def test_a_name_of_nothing_is_found(text, name):
    assert name in missing(text)


@pytest.mark.parametrize(
    "text",
    [
        "results/warmup/loopda/seed0/model.pt",
        "`python -m loopda.stages.<stage> --help`",
        "`docs/`, `loopda/methods/*.py` and loopda/runtime/distributed.py.",
        "    snakemake --cores all --configfile mine.yaml",
        "    snakemake results/evaluate/coral/seed0/adapt.json --cores all",
        "`loopda.runtime.distributed.mean(total, count)`",
        "what snakemake does with it",
        "https://example.org/loopda/gone.py",
    ],
)
def test_what_exists_and_what_is_no_name_is_not_found(text):
    assert missing(text) == []
