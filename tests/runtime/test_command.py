"""How a stage's process ends: one line that names the remedy, and an exit code of its own for each kind of fault."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from loopda.errors import ConfigError, DataError, DeviceError, Interrupted, NumericError
from loopda.runtime.command import command, writes
from loopda.runtime.files import sole_writer, write_text
from loopda.runtime.log import warn_once


def ended(error: Exception | None, log: Path) -> int:
    """The exit code of a stage that raises `error`."""

    def run(*, log: Path) -> None:
        if error:
            raise error

    try:
        command(run, ["--log", str(log)])
    except SystemExit as exited:
        return exited.code
    return 0


@pytest.mark.fault(52, "a home and variables in the paths of a command are filled in, or refused with exit code 2")
def test_paths_of_a_command_may_have_a_home_and_variables(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PART", "a")
    monkeypatch.delenv("NOTHING", raising=False)
    seen = []

    def run(*, images: list[Path], log: Path | None = None) -> None:
        seen.extend(images)

    command(run, ["--images", "~/$PART/1.png", "plain.png", "--log", "~/stage.log"])
    assert seen == [tmp_path / "a/1.png", Path("plain.png")]
    assert (tmp_path / "stage.log").exists()
    with pytest.raises(SystemExit) as ended:
        command(run, ["--images", "${NOTHING}/1.png"])
    assert ended.value.code == ConfigError.exit_code
    assert "${NOTHING}/1.png: the environment has no variable NOTHING; set it" in capsys.readouterr().err


def lost_device() -> Exception:
    return RuntimeError("CUDA error: device-side assert triggered\nmore lines")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, 0),
        (ConfigError("a key"), 2),
        (DataError("a file"), 3),
        (DeviceError("a device"), 4),
        (NumericError("a number"), 5),
        (Interrupted("a signal"), 75),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "gone.csv"), 3),
        (OSError(errno.ESTALE, "Stale file handle", "labels.csv"), 3),
        (OSError(errno.ENOSPC, "No space left on device"), 4),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "model.pt"), 4),
        (MemoryError(), 4),
        (AssertionError("a bug"), 1),
    ],
    ids=repr,
)
def test_each_kind_of_fault_has_its_exit_code(error, code, tmp_path):
    assert ended(error, tmp_path / "log") == code


def test_a_name_that_is_not_utf8_where_a_table_is_written_is_no_bug(tmp_path):
    def write() -> Exception:
        try:
            (tmp_path / "table").write_text(os.fsdecode(b"Z\xfcrich.png"), encoding="utf-8")
        except UnicodeEncodeError as error:
            return error

    assert ended(write(), tmp_path / "log") == 3
    (line,) = (tmp_path / "log").read_text().splitlines()[1:]
    assert line == r"DataError: Z\xfcrich.png: a name that is not UTF-8; rename, and run the same command again"


@pytest.mark.fault(75, "the warning stands in the log too")
def test_what_the_package_warns_of_goes_to_the_log_and_to_standard_error(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("loopda.runtime.log._warned", set())

    def run(*, log: Path) -> None:
        warn_once("locks", tmp_path, "it has none")

    command(run, ["--log", str(tmp_path / "log")])
    assert (tmp_path / "log").read_text().splitlines()[1:] == [f"warning: {tmp_path}: it has none"]
    assert capsys.readouterr().err == f"warning: {tmp_path}: it has none\n"


def test_a_warning_is_said_once_for_each_file_system(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("loopda.runtime.log._warned", set())
    (tmp_path / "below").mkdir()
    for folder in (tmp_path, tmp_path / "below", tmp_path):
        warn_once("locks", folder, "it has none")
    warn_once("other", tmp_path, "it is slow")
    assert [record.getMessage() for record in caplog.records] == [f"{tmp_path}: it has none", f"{tmp_path}: it is slow"]


@pytest.mark.fault(29, "exit code 4, with the peak of memory and what to make smaller; saved steps stay valid")
def test_a_device_out_of_memory_says_what_to_make_smaller(tmp_path):
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nand advice")
    assert ended(error, tmp_path / "log") == 4
    (line,) = (tmp_path / "log").read_text().splitlines()[1:]
    assert "Tried to allocate 2.00 GiB" in line
    assert "batch_size" in line
    assert "input.crop" in line


@pytest.mark.fault(30, "exit code 4 for a device that is missing or fails; what was saved stays valid")
def test_a_device_that_fails_is_one_line_and_exit_code_4(tmp_path):
    assert ended(lost_device(), tmp_path / "log") == 4
    (line,) = (tmp_path / "log").read_text().splitlines()[1:]
    assert "the device failed (CUDA error: device-side assert triggered)" in line


@pytest.mark.parametrize("words", ["Connection closed by peer", "Connection reset by peer", "writev: Broken pipe"])
@pytest.mark.fault(99, "exit code 4 and the cause named, in whatever words the connection ends")
def test_the_end_of_another_process_is_no_bug_however_the_connection_ends(words, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    error = RuntimeError(f"[gloo/transport/tcp/pair.cc:545] [127.0.0.1]:8110: {words}. This is typically caused by")
    assert ended(error, tmp_path / "log") == 4
    assert "another process of this stage has ended" in (tmp_path / "log").read_text()


def test_a_bug_shows_its_traceback(tmp_path):
    assert ended(AssertionError("a bug"), tmp_path / "log") == 1
    assert "Traceback" in (tmp_path / "log").read_text()


def refused(out: Path) -> str:
    @writes("out")
    def run(*, out: Path) -> None:
        raise AssertionError("it was not to run")

    with pytest.raises(DataError) as raised:
        run(out=out)
    return str(raised.value)


@pytest.mark.fault(39, "a second process that would write the same result is refused by the host and pid of the first")
def test_a_second_writer_of_a_result_is_refused_by_the_name_of_the_first(tmp_path):
    with sole_writer(tmp_path / "scores.json"):
        assert f"pid {os.getpid()}" in refused(tmp_path / "scores.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault(37, "flags that make no sense are refused before anything is read")
def test_fewer_threads_than_none_are_refused(capsys):
    def run(*, threads: int = 2, log: Path | None = None) -> None:
        raise AssertionError("it ran")

    with pytest.raises(SystemExit) as ended:
        command(run, ["--threads", "-1"])
    assert ended.value.code == ConfigError.exit_code
    assert "--threads -1: choose 1 or more" in capsys.readouterr().err


@pytest.mark.fault(37, "a flag that comes twice adds to what it said; one without a value has its default")
def test_a_flag_may_come_twice_or_without_a_value():
    seen = {}

    def run(*, images: list[Path], pictures: list[str] = (), threads: int = 2, size: str = "", log: Path | None = None):
        seen.update(images=images, pictures=list(pictures), threads=threads, size=size)

    command(run, ["--images", "a", "b", "--threads", "--images", "c", "--size"])
    assert seen == {"images": [Path("a"), Path("b"), Path("c")], "pictures": [], "threads": 2, "size": ""}
    command(run, ["--images", "--pictures", "x", "--pictures", "y"])
    assert (seen["images"], seen["pictures"]) == ([], ["x", "y"])


@pytest.mark.fault(37, "a log or an output that is one of the inputs is refused before it is touched")
@pytest.mark.parametrize("flags", [["--log", "m"], ["--log", "link"], ["--model", "m"], ["--log", "x", "--model", "x"]])
def test_no_input_is_overwritten(flags, tmp_path, monkeypatch, capsys):
    @writes("model")
    def run(*, weights: str, model: Path, log: Path | None = None) -> None:
        raise AssertionError("it ran")

    monkeypatch.chdir(tmp_path)
    Path("m").write_text("weights")
    Path("link").symlink_to("m")
    with pytest.raises(SystemExit) as ended:
        command(run, ["--weights", "m", "--model", "c", *flags])
    assert ended.value.code == ConfigError.exit_code
    assert "are one file" in capsys.readouterr().err
    assert Path("m").read_text() == "weights"


@pytest.mark.parametrize("out", [".", "..", "../inner"])
def test_a_folder_without_a_name_of_its_own_may_be_written(out, tmp_path, monkeypatch):
    @writes("out")
    def run(*, out: Path) -> None:
        (out / "result").touch()

    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    command(run, ["--out", out])
    assert Path(out, "result").exists()


@pytest.mark.fault(13, "what lies in the way of a folder is named, with exit code 4")
@pytest.mark.parametrize(
    ("name", "there"), [("file/out", "file is a file or a link to nowhere"), ("folder", "a folder has that name")]
)
def test_what_lies_in_the_way_of_an_output_is_named(name, there, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(DeviceError, match=f"{there}.*; choose another name"):
        write_text(tmp_path / name, "")


@pytest.mark.fault(39, "the lock of a process that was killed is free, and what it had half written is removed")
def test_the_lock_of_a_killed_process_is_free_and_its_leftovers_go(tmp_path):
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from loopda.runtime.files import sole_writer, written\n"
        "path = Path(sys.argv[1])\n"
        "with sole_writer(path), written(path) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    process = subprocess.run([sys.executable, "-c", code, tmp_path / "scores.json"], check=False)
    assert process.returncode == -9
    assert len(list(tmp_path.iterdir())) == 2, "its lock, and its half file"
    with sole_writer(tmp_path / "scores.json"):
        assert [path.name for path in tmp_path.iterdir()] == [".scores.json.lock"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault(13, "a folder that cannot be written is named before anything trains, with exit code 4")
def test_a_folder_without_permission_is_named_before_a_stage_works(tmp_path, monkeypatch):
    """root may write everywhere, so the refusal is the one that the system gives other users."""

    def denied(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", denied)

    @writes("out")
    def run(*, out: Path) -> None:
        raise AssertionError("it was not to run")

    with pytest.raises(DeviceError, match=r"scores\.json.*Permission denied.*check the disk and its permissions"):
        run(out=tmp_path / "results" / "scores.json")
