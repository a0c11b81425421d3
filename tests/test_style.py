"""What every file of the repository keeps to."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
PACKAGE = sorted((ROOT / "loopda").rglob("*.py"))


def texts() -> dict[Path, str]:
    """Every text file that belongs to the repository."""
    found = [path for path in ROOT.iterdir() if path.is_file()]
    for folder in ("loopda", "tests", "scripts", "workflow", "docs", ".ci", "profiles", "containers"):
        found += [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    result = {}
    for path in found:
        if "__pycache__" not in path.parts and path != Path(__file__):
            try:
                result[path.relative_to(ROOT)] = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue
    return result


@pytest.mark.parametrize(
    "words",
    [
        ["ruff", "check", "loopda", "tests", "scripts"],
        ["ruff", "format", "--check", "loopda", "tests", "scripts"],
        ["snakefmt", "--check", "Snakefile", "workflow"],
        ["lint-imports"],
    ],
    ids=" ".join,
)
def test_the_tool_finds_nothing(words):
    path = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }  # snakefmt calls a tool of its own
    command = [BIN / words[0], *words[1:]]
    process = subprocess.run(command, cwd=ROOT, env=path, capture_output=True, text=True, check=False)
    assert process.returncode == 0, (process.stdout + process.stderr)[-4000:]


def calls(path: Path) -> list[tuple[str, ast.Call]]:
    """(dotted name, call) of every call in a Python file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("path", PACKAGE, ids=lambda path: str(path.relative_to(ROOT)))
def test_weights_and_yaml_are_read_without_running_code_in_them(path):
    for name, call in calls(path):
        if name in ("torch.load", "torch.hub.load_state_dict_from_url"):
            only = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            assert only.get("weights_only") == "True", f"{path}:{call.lineno}"
        assert name not in ("yaml.load", "yaml.unsafe_load", "yaml.full_load", "eval", "exec"), f"{path}:{call.lineno}"
    modules = {
        name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert not modules & {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}


def test_the_search_for_calls_finds_one():
    assert any(name == "torch.load" for path in PACKAGE for name, _ in calls(path))


def test_no_module_is_named_after_nothing_in_particular():
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "tools", "shared"}
    assert not [path for path in PACKAGE if path.stem in vague or path.parent.name in vague]


def test_tests_are_imported_by_their_names_so_no_name_occurs_twice_and_there_is_no_package():
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names))
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_no_file_names_a_place_on_somebodys_machine_or_a_registry():
    machine = r"(?<![\w.])/(?:work|root|home|Users|mnt|scratch|opt)/\w+"
    registry = (
        r"--(?:extra-)?index-url|--find-links|--trusted-host|\b(?:artifactory|nexus|jfrog)\b|[a-z]+://[^\s/]*:\d{4,5}/"
    )
    found = [
        f"{path}:{number}: {line.strip()[:100]}"
        for path, text in texts().items()
        for number, line in enumerate(text.splitlines(), start=1)
        if re.search(f"{machine}|{registry}", line)
    ]
    assert not found, "\n".join(found)
