"""Reading from disks that fail for a moment, and adding to files on disks that are full."""

import errno

import numpy as np
import pytest
from PIL import Image

from loopda import files
from loopda.errors import DataError, DeviceError
from loopda.files import append_text, patiently, sha256
from loopda.labels import png


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
    assert patiently(read) == 7
    assert len(read.attempts) == 3


@pytest.mark.parametrize(("times", "number", "attempts"), [(3, errno.EIO, 3), (1, errno.ENOENT, 1)])
def test_what_fails_three_times_or_for_good_is_not_tried_again(times, number, attempts):
    read = failing(times, number)
    with pytest.raises(OSError, match="the disk says no"):
        patiently(read)
    assert len(read.attempts) == attempts


@pytest.mark.fault(12, "an image that cannot be read in three attempts is named")
def test_an_image_on_a_failing_disk_is_read_again_and_then_named(tmp_path, monkeypatch):
    path = tmp_path / "night.png"
    Image.fromarray(np.zeros((4, 4, 3), dtype=np.uint8)).save(path)
    decode, attempts = png._decoded, []

    def unsteady(*arguments: object) -> object:
        attempts.append(arguments)
        if len(attempts) < 3 or len(attempts) > 3:
            raise OSError(errno.EIO, "Input/output error")
        return decode(*arguments)

    monkeypatch.setattr(png, "_decoded", unsteady)
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
