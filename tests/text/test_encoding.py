"""Text that comes in and goes out, in locales and terminals that know less than UTF-8."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from loopda.config import read_yaml
from loopda.data.lists import read_table
from loopda.errors import ConfigError, DataError
from loopda.labels.class_files import read_classes
from loopda.text.encoding import check_encoding, read_text, replace_what_cannot_be_shown

# Python where names of files are ASCII: what UTF-8 has not, as in an ISO-8859-1 locale, which few machines have
NO_UTF8 = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
PROGRAM = """
import sys
from pathlib import Path
from loopda.text.encoding import begin_program
begin_program()
print(sys.getfilesystemencoding(), sys.argv[1:], [path.name for path in Path(sys.argv[1]).iterdir()], "…")
"""


def run(arguments: list[str | Path], **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONUTF8", "PYTHONIOENCODING")}
    pipes = {"capture_output": True, "encoding": "utf-8", "errors": "replace", "timeout": 100, "check": False}
    return subprocess.run([sys.executable, *arguments], env=kept | environment, **pipes)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("# one\nname: Straße\n".encode("latin-1"), r"f\.yaml, line 2: not UTF-8 \(the byte 0xdf, as in Latin-1\)"),
        ("name: Straße\n".encode("utf-16"), r"f\.yaml: a text in UTF-16"),
        ("name: x\n".encode("utf-16-le"), r"f\.yaml: not a text \(it has a zero byte\), or one in UTF-16"),
    ],
    ids=["Latin-1", "UTF-16", "UTF-16 without a mark"],
)
@pytest.mark.fault(80, "exit code 2 or 3 with the file, its line and the remedy")
def test_a_file_in_another_encoding_is_named_with_the_line_and_the_remedy(tmp_path, content, fault):
    path = tmp_path / "f.yaml"
    path.write_bytes(content)
    for read, error in ((read_yaml, ConfigError), (read_classes, ConfigError), (read_text, DataError)):
        with pytest.raises(error, match=f"{fault}; save it as UTF-8"):
            read(path)
    if not content.startswith(b"\xff\xfe"):  # tables are read in the UTF-16 of spreadsheet programs
        with pytest.raises(DataError, match=f"{fault}; save it as UTF-8; look"):
            read_table(path, ["image"], remedy="look")


def test_a_byte_order_mark_is_no_part_of_the_text_and_lines_may_end_as_on_windows(tmp_path):
    path = tmp_path / "f.yaml"
    path.write_bytes("\ufeffname: Straße\r\nother: 1\r\n".encode())
    assert read_text(path) == "name: Straße\nother: 1\n"
    assert read_yaml(path) == {"name": "Straße", "other": 1}


@pytest.mark.fault(80, "names in tables are UTF-8 whatever the locale: the program starts again in UTF-8 mode")
def test_a_program_reads_and_writes_names_as_utf8_in_a_locale_that_has_them_otherwise(tmp_path):
    (tmp_path / "dä").mkdir()
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    (tmp_path / "dä" / "Straße.png").touch()
    done = run([tmp_path / "program.py", tmp_path / "dä"], **NO_UTF8, PYTHONIOENCODING="utf-8")
    assert done.stdout.startswith("utf-8 ['"), done.stderr
    assert "/dä']" in done.stdout
    assert "['Straße.png']" in done.stdout
    # where the terminal knows no more than ASCII, it is shown that much
    shown = run([tmp_path / "program.py", tmp_path / "dä"], **NO_UTF8).stdout
    assert shown.startswith("utf-8 ['")
    assert shown.endswith("['Stra?e.png'] .\n")


@pytest.mark.fault(80, "letters beyond ASCII in the configuration are refused before any job, with PYTHONUTF8=1")
def test_snakemake_in_such_a_locale_is_refused_where_names_have_other_letters(monkeypatch):
    check_encoding({"experiments": {"dä": None}})
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "iso8859-1")
    check_encoding({"experiments": {"da": None}})
    with pytest.raises(ConfigError, match=r"iso8859-1.*PYTHONUTF8=1 snakemake"):
        check_encoding({"experiments": {"dä": None}})


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", r"38.7 ± 0.6 … dä Z\xfcrich 夜"),
        ("latin-1", r"38.7 ± 0.6 . dä Z\xfcrich ?"),
        ("ascii", r"38.7 +- 0.6 . d? Z\xfcrich ?"),
    ],
)
@pytest.mark.fault(81, "characters that the terminal has not are replaced by others")
def test_a_terminal_is_shown_what_it_can_show(monkeypatch, encoding, shown):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    monkeypatch.setattr(sys, "stdout", stream)
    replace_what_cannot_be_shown()
    print("38.7 ± 0.6 … dä", os.fsdecode(b"Z\xfcrich"), "夜")
    stream.flush()
    assert stream.buffer.getvalue().decode(encoding) == f"{shown}\n"


@pytest.mark.fault(81, "the state of a run is shown in a Latin-1 terminal too narrow for a line")
def test_the_status_is_shown_in_a_latin1_terminal_that_is_too_narrow_for_a_line(root, tmp_path):
    shutil.copy(root / "config.yaml", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "loopda.status", "all"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root), "COLUMNS": "60", "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        encoding="latin-1",
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("STAGE")
    assert any(len(line) == 60 and line.endswith(".") for line in lines)
