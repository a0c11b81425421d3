"""Files that exist only when they are whole: written beside their place, flushed to the disk, then renamed into it."""

import errno
import glob
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from loopda.errors import DataError, DeviceError
from loopda.runtime import locks
from loopda.runtime.locks import Held, Lock
from loopda.text.encoding import REPLACE, warn_once
from loopda.text.names import bounded

READS = 3
PAUSE = 1.0  # seconds between them
MOMENTARY = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT)
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_IN_THE_WAY = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY)
# what file systems answer that do not know a call: some networks' and those in user space
NO_FLUSHING = (
    *(errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EBADF, errno.EPERM, errno.EACCES),
    *(errno.EISDIR, errno.ENOTTY),
)
NO_REPLACING = (errno.EEXIST, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EBUSY)
# of a temporary file's name, besides the numbers of the process and the thread
STEM_BYTES, SUFFIX_BYTES = 120, 40

Result = TypeVar("Result")


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`; when the block ends well, it becomes `path` in one step.

    The temporary file keeps the suffix of `path`, because Pillow and matplotlib choose the format by it.
    When the block fails, the temporary file is removed and an older `path` stays as it was; where that is for a full
    disk or a missing permission, it is a DeviceError.
    """
    path = Path(path)
    start, suffix = _around(path)
    temporary = path.with_name(f"{start}{os.getpid()}.{threading.get_ident()}.part{suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        move_into_place(temporary, path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _around(path: Path) -> tuple[str, str]:
    """How the names of the temporary files of `path` begin and end; they are shorter than the limit of its own."""
    suffix = path.suffix if len(os.fsencode(path.suffix)) <= SUFFIX_BYTES else ""
    return f".{bounded(path.name.removesuffix(suffix), STEM_BYTES)}.", suffix


def unwritable(path: Path | str, error: Exception) -> DeviceError:
    """That `path` cannot be written, in one line with the remedy. `error`: an OSError, or torch's RuntimeError."""
    number = getattr(error, "errno", None)
    reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
    remedy = "check the disk and its permissions" if number not in (*NO_SPACE, None) else "free some disk space"
    remedy = "choose a shorter name" if number == errno.ENAMETOOLONG else remedy
    if number in _IN_THE_WAY and (there := _in_the_way(Path(path))):
        reason, remedy = there, "choose another name, or move that away,"
    return DeviceError(f"{path}: cannot be written ({reason}); {remedy} and run the same command again")


def _in_the_way(path: Path) -> str:
    """What lies where a folder is needed for `path`, or where it is to be; "" where nothing does."""
    for folder in reversed(path.parents):
        if os.path.lexists(folder) and not folder.is_dir():
            return f"{folder} is a file or a link to nowhere, and not a folder"
    return "a folder has that name" if path.is_dir() else ""


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Hold the lock of `path`, a file or a folder that a stage is to write, and drop what a killed writer left of it.

    A folder that is made for the lock goes again where nothing is written into it. DataError, which says who holds it,
    where another process does; DeviceError where nothing can be written.
    """
    path = resolve_dots(path)
    made = [folder for folder in path.parents if not folder.exists()]
    lock = take_lock(path)
    try:
        start, suffix = _around(path)
        for orphan in path.parent.glob(f"{glob.escape(start)}*.part{glob.escape(suffix)}"):
            orphan.unlink(missing_ok=True)
        yield
    finally:
        release(lock)
        with suppress(OSError):
            for folder in made:
                folder.rmdir()


def resolve_dots(path: Path) -> Path:
    """`path`; from the root on where it ends in no name, as `.` and `..` do, so that another can stand beside it."""
    return path if path.name not in ("", "..") else Path(os.path.abspath(path))


def take_lock(path: Path) -> Lock:
    """The lock of `path`, to be given to `release`; errors as in `sole_writer`. The end of the process releases it."""
    path = resolve_dots(path)
    place = path.parent / f".{bounded(path.name)}.lock"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        return locks.take(place)
    except Held as held:
        raise DataError(f"{path}: another process ({held}) is writing it; end that one first") from None
    except OSError as error:
        raise unwritable(place, error) from error


def release(lock: Lock) -> None:
    """Give back what `take_lock` took; a second time does nothing."""
    lock.release()


def move_into_place(temporary: Path, path: Path) -> None:
    """Make the finished file `temporary`, which lies on the same disk, the file `path` in one step."""
    flush(temporary)
    try:
        os.replace(temporary, path)
    except OSError as error:
        if error.errno not in NO_REPLACING or not path.is_file():
            raise
        _move_around(temporary, path)
    flush(path.parent)


def _move_around(temporary: Path, path: Path) -> None:
    """As `move_into_place` in two steps, where the file system refuses to rename a file to a name that is taken."""
    start, suffix = _around(path)
    before = path.with_name(f"{start}{os.getpid()}.before.part{suffix}")
    os.rename(path, before)
    try:
        os.rename(temporary, path)
    except OSError:
        os.rename(before, path)
        raise
    before.unlink(missing_ok=True)
    warn_once(
        "replacing",
        path.parent,
        "this file system replaces no file by another in one step; what is interrupted in between is missing, and the"
        " same command makes it again",
    )


def flush(path: Path) -> None:
    """Have the content of `path`, a file or a folder, on the disk, whatever happens to the machine from then on.

    Some network file systems cannot be asked for that, of folders above all; then it is said once.
    """
    folder = path.is_dir()
    for mode in (os.O_RDONLY,) if folder else (os.O_RDONLY, os.O_RDWR):
        try:
            descriptor = os.open(path, mode)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            return
        except OSError as error:
            if error.errno not in NO_FLUSHING:
                raise
            reason = error.strerror
    where, what = (path, "folders") if folder else (path.parent, "files")
    warn_once(
        f"flushing {what}",
        where,
        f"this file system cannot be asked to keep {what} safe from a power failure (fsync: {reason}); after one, check"
        " the newest results",
    )


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8) as the whole file `path`, atomically."""
    with written(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def append_text(path: Path, text: str) -> None:
    """Add `text` (UTF-8) to the file `path`, all of it or nothing; DeviceError where it cannot be written.

    Bytes of names that are not UTF-8 are escaped: it is for people.
    """
    content = text.encode(errors=REPLACE)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab", buffering=0) as file:
            before = file.tell()
            try:
                if file.write(content) != len(content):
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

    return retried(read)


def retried(read: Callable[[], Result]) -> Result:
    """read(), again after a pause where the disk fails as network disks do for a moment, READS times in all."""
    for _ in range(READS - 1):
        try:
            return read()
        except OSError as error:
            if error.errno not in MOMENTARY:
                raise
            time.sleep(PAUSE)
    return read()
