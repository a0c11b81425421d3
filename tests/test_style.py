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
PROGRAMS = [*PACKAGE, *sorted((ROOT / "scripts").glob("*.py"))]
RULES = [ROOT / "Snakefile", *sorted((ROOT / "workflow/rules").glob("*.smk"))]


def texts() -> dict[Path, str]:
    """Every text file that belongs to the repository, as git knows it; in a copy without git, what lies there."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if listed.returncode == 0:
        known = {ROOT / name for name in listed.stdout.split("\0") if name}
        found = sorted(path for path in known if path.is_file() and path.suffix != ".log")
    else:
        folders = ("loopda", "tests", "scripts", "workflow", "docs", ".ci")
        found = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
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


READS_TEXT = ("open", "read_text", "write_text", "run", "Popen", "check_output")
NO_TEXT_FILES = ("Image.open", "tarfile.open", "zip.open", "os.open", "urllib.request.build_opener")


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_text_file_is_opened_with_its_encoding_and_not_the_locales(path):
    for name, call in calls(path):
        _, _, last = name.rpartition(".")
        keywords = {keyword.arg for keyword in call.keywords}
        texts = [ast.unparse(argument) for argument in call.args]
        where = f"{path}:{call.lineno}: {name}"
        if last in ("run", "Popen", "check_output") and name.startswith("subprocess."):
            assert not keywords & {"text", "universal_newlines"}, f"{where}: say encoding="
        elif last == "open" and name not in NO_TEXT_FILES:
            mode = texts[0 if name.endswith(".open") else 1 :][:1]
            binary = mode and re.fullmatch(r"'[rwax]\+?b\+?'.*|.* else '[rwax]b'", mode[0])
            assert binary or "encoding" in keywords, f"{where}: say encoding="
        elif last in ("read_text", "write_text") and "." in name:
            assert "encoding" in keywords or name.startswith("text."), f"{where}: say encoding="


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_the_rules_open_text_files_with_their_encoding(path):
    for line in path.read_text(encoding="utf-8").splitlines():
        if re.search(r"\bopen\(|\.(?:read|write)_text\(", line):
            assert "encoding=" in line, f"{path}: {line}"


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_program_begins_with_what_makes_any_terminal_and_locale_fit(path):
    _, entrance, body = path.read_text(encoding="utf-8").partition('if __name__ == "__main__":\n')
    first = body.split("\n")[0].strip()
    assert not entrance or first in ("command(run)", "begin_program()"), f"{path}: {first}"


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
