"""Reading from disks that fail for a moment, adding to files on full ones, and disks that do not know every call."""

import errno
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loopda.errors import DataError, DeviceError
from loopda.labels import decoding, png
from loopda.runtime import files, log
from loopda.runtime.files import append_text, retried, sha256, sole_writer, write_text, written


def failing(times: int, number: int):
    """A function that fails `times` times with the error `number` of the system, and then returns 7."""
    attempts = []

    def read() -> int:
        attempts.append(number)
        if len(attempts) <= times:
            raise OSError(number, "the disk says no")
        return 7

    read.attempts = attempts
    return read


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(files, "PAUSE", 0.0)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
@pytest.mark.fault(12, "a read that fails for a moment is tried three times")
def test_a_read_that_fails_twice_is_tried_a_third_time(number):
    read = failing(2, number)
    assert retried(read) == 7
    assert len(read.attempts) == 3


@pytest.mark.parametrize(("times", "number", "attempts"), [(3, errno.EIO, 3), (1, errno.ENOENT, 1)])
def test_what_fails_three_times_or_for_good_is_not_tried_again(times, number, attempts):
    read = failing(times, number)
    with pytest.raises(OSError, match="the disk says no"):
        retried(read)
    assert len(read.attempts) == attempts


@pytest.mark.fault(12, "an image that cannot be read in three attempts is named")
def test_an_image_on_a_failing_disk_is_read_again_and_then_named(tmp_path, monkeypatch):
    path = tmp_path / "night.png"
    Image.fromarray(np.zeros((4, 4, 3), dtype=np.uint8)).save(path)
    decode, attempts = decoding._decoded, []

    def unsteady(*arguments: object) -> object:
        attempts.append(arguments)
        if len(attempts) < 3 or len(attempts) > 3:
            raise OSError(errno.EIO, "Input/output error")
        return decode(*arguments)

    monkeypatch.setattr(decoding, "_decoded", unsteady)
    assert png.read_image(path).size == (4, 4)
    with pytest.raises(DataError, match=r"night\.png: .*Input/output error"):
        png.read_image(path)
    assert len(attempts) == 6


def test_a_missing_file_is_no_matter_of_patience(tmp_path):
    with pytest.raises(FileNotFoundError):
        sha256(tmp_path / "gone")


def test_text_is_added_whole_or_not_at_all(tmp_path, tiny_disk):
    def fill() -> str:
        path = tmp_path / "metrics.jsonl"
        append_text(path, "first\n")
        try:
            append_text(path, "x" * 2**20)
        except DeviceError as error:
            return "" if path.read_text() == "first\n" and "free some disk space" in str(error) else str(error)
        return "the disk was not full"

    assert tiny_disk(tmp_path, fill) == ""


@pytest.fixture
def flushing(monkeypatch):
    """flushing(number, folders=..., files=...): os.fsync of those fails with the error `number` of the system."""
    monkeypatch.setattr(log, "_warned", set())

    def fail(number: int, *, folders: bool, files: bool) -> None:
        def fsync(descriptor: int) -> None:
            if folders if stat.S_ISDIR(os.fstat(descriptor).st_mode) else files:
                raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fsync)

    return fail


@pytest.mark.parametrize("number", ["EINVAL", "EOPNOTSUPP", "EBADF", "EACCES", "EPERM", "ENOSYS", "EISDIR"])
@pytest.mark.fault(76, "a warning, once; the file is written")
def test_a_folder_that_cannot_be_flushed_is_said_once_and_the_file_is_there(tmp_path, flushing, caplog, number):
    flushing(getattr(errno, number), folders=True, files=False)
    for content in ("first", "second"):
        write_text(tmp_path / "table.md", content)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["second"]
    (warning,) = (record.getMessage() for record in caplog.records)
    assert "cannot keep folders safe" in warning


def test_a_folder_that_may_not_be_read_is_written_to_all_the_same(tmp_path, monkeypatch, flushing):
    """root may read everything, so the refusal is the one that the system gives other users."""
    opened = os.open

    def denied(path: object, flags: int, *arguments: int, **options: int) -> int:
        if Path(str(path)).is_dir():
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, flags, *arguments, **options)

    monkeypatch.setattr(os, "open", denied)
    write_text(tmp_path / "table.md", "text")
    assert (tmp_path / "table.md").read_text() == "text"


def test_a_file_that_cannot_be_flushed_is_borne(tmp_path, flushing):
    flushing(errno.EINVAL, folders=False, files=True)
    write_text(tmp_path / "table.md", "text")
    assert (tmp_path / "table.md").read_text() == "text"


@pytest.mark.parametrize("folders", [False, True])
@pytest.mark.parametrize("number", ["ENOSPC", "EIO", "EDQUOT"])
@pytest.mark.fault(76, "a disk that is full or broken still ends the stage with 4")
def test_a_full_or_broken_disk_that_shows_when_flushing_is_an_error(tmp_path, flushing, number, folders):
    flushing(getattr(errno, number), folders=folders, files=not folders)
    with pytest.raises(DeviceError, match="run the same command again"):
        write_text(tmp_path / "table.md", "text")


@pytest.mark.parametrize("number", ["EEXIST", "EPERM", "EBUSY"])
@pytest.mark.fault(77, "a warning; the new file is there, and the old one where the second step fails")
def test_where_no_file_can_be_renamed_over_another_it_is_replaced_in_two_steps(tmp_path, monkeypatch, number):
    monkeypatch.setattr(log, "_warned", set())
    rename = os.rename

    def refused(source: Path, target: Path) -> None:
        if target.exists():
            raise OSError(getattr(errno, number), "refused", str(target))
        rename(source, target)

    monkeypatch.setattr(os, "replace", refused)
    path = tmp_path / "table.md"
    for content in ("first", "second"):
        write_text(path, content)
        assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("table.md", content)]

    def full(source: Path, target: Path) -> None:
        if target == path and source.suffixes[-2:] == [".part", ".md"] and "before" not in source.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(DeviceError, match="free some disk space"):
        write_text(path, "third")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("table.md", "second")]


@pytest.mark.parametrize(
    "stem", ["e" * 235, "ü" * 124, "夜" * 83, "[1]" * 70], ids=["letters", "umlauts", "han", "glob"]
)
@pytest.mark.fault(74, "what is written beside a file while it is made has a shorter name than the file")
def test_a_file_whose_name_just_fits_is_written_and_leaves_nothing_behind(tmp_path, stem):
    path = tmp_path / f"{stem}.json"
    with sole_writer(path), written(path) as temporary:
        temporary.write_text("{}")
        assert temporary.suffix == ".json"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_of_a_file_with_brackets_in_its_name_is_removed(tmp_path):
    path = tmp_path / "night[1].json"
    with written(path) as temporary:
        pass_by = temporary.name
        temporary.write_text("{}")
    (tmp_path / pass_by).write_text("half")
    with sole_writer(path):
        assert not (tmp_path / pass_by).exists()


def test_a_name_that_is_too_long_is_to_be_made_shorter(tmp_path):
    with pytest.raises(DeviceError, match="File name too long.*choose a shorter name"):
        write_text(tmp_path / ("e" * 300), "text")


@pytest.mark.fault(78, "a log has the name with its bytes escaped")
def test_a_name_that_is_not_utf8_is_escaped_in_a_log(tmp_path):
    name = os.fsdecode(b"B\xe4d.png")
    append_text(tmp_path / "log", f"{name}: no image\n")
    assert (tmp_path / "log").read_text() == "B\\xe4d.png: no image\n"
