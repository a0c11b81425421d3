"""Files that exist only when they are whole: written beside their place, flushed to the disk, then renamed into it."""

import errno
import fcntl
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO, TypeVar

from loopda.errors import DataError, DeviceError

READS = 3
PAUSE = 1.0  # seconds between them
MOMENTARY = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT)
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Result = TypeVar("Result")


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`; when the block ends well, it becomes `path` in one step.

    The temporary file keeps the suffix of `path`, because Pillow and matplotlib choose the format by it.
    When the block fails, the temporary file is removed and an older `path` stays as it was; where that is for a full
    disk or a missing permission, it is a DeviceError.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.{threading.get_ident()}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        move_into_place(temporary, path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def unwritable(path: Path | str, error: Exception) -> DeviceError:
    """That `path` cannot be written, in one line with the remedy. `error`: an OSError, or torch's RuntimeError."""
    number = getattr(error, "errno", None)
    reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
    remedy = "check the disk and its permissions" if number not in (*NO_SPACE, None) else "free some disk space"
    return DeviceError(f"{path}: cannot be written ({reason}); {remedy} and run the same command again")


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Hold the lock of `path`, a file or a folder that a stage is to write, and drop what a killed writer left of it.

    A folder that is made for the lock goes again where nothing is written into it. DataError, which says who holds it,
    where another process does; DeviceError where nothing can be written.
    """
    made = [folder for folder in path.parents if not folder.exists()]
    lock = take_lock(path)
    try:
        for orphan in path.parent.glob(f".{path.stem}.*.part{path.suffix}"):
            orphan.unlink(missing_ok=True)
        yield
    finally:
        release(lock)
        with suppress(OSError):
            for folder in made:
                folder.rmdir()


def take_lock(path: Path) -> TextIO:
    """The lock of `path`, to be given to `release`; errors as in `sole_writer`. The end of the process releases it."""
    place = path.with_name(f".{path.name}.lock")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        while True:
            file = open(place, "a+", encoding="utf-8")  # noqa: SIM115
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if place.exists() and place.stat().st_ino == os.fstat(file.fileno()).st_ino:
                break
            file.close()  # the one before removed it in between
        file.truncate(0)
        file.write(f"{os.uname().nodename} pid {os.getpid()} since {time.strftime('%Y-%m-%d %H:%M:%S')}")
        file.flush()
    except BlockingIOError:
        file.seek(0)
        raise DataError(f"{path}: another process ({file.read().strip()}) is writing it; end that one first") from None
    except OSError as error:
        raise unwritable(place, error) from error
    return file


def release(lock: TextIO) -> None:
    """Give back what `take_lock` took; a second time does nothing."""
    if not lock.closed:
        Path(lock.name).unlink(missing_ok=True)
        lock.close()


def move_into_place(temporary: Path, path: Path) -> None:
    """Make the finished file `temporary`, which lies on the same disk, the file `path` in one step."""
    _flush(temporary)
    os.replace(temporary, path)
    _flush(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8) as the whole file `path`, atomically."""
    with written(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def append_text(path: Path, text: str) -> None:
    """Add `text` (UTF-8) to the file `path`, all of it or nothing; DeviceError where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab", buffering=0) as file:
            before = file.tell()
            try:
                if file.write(text.encode()) != len(text.encode()):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                file.truncate(before)
                raise
    except OSError as error:
        raise unwritable(path, error) from error


def write_json(path: Path, value: object) -> None:
    """Write `value` as JSON, atomically. NaN is refused: JSON has none, so absent numbers are null."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def sha256(path: Path) -> str:
    """The SHA-256 of the file's bytes, in hexadecimal."""

    def read() -> str:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    return patiently(read)


def patiently(read: Callable[[], Result]) -> Result:
    """read(), again after a pause where the disk fails as network disks do for a moment, READS times in all."""
    for _ in range(READS - 1):
        try:
            return read()
        except OSError as error:
            if error.errno not in MOMENTARY:
                raise
            time.sleep(PAUSE)
    return read()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
