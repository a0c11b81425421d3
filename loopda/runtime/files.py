"""Atomic writing: a file is written under a temporary name beside its place, flushed to the disk, and then renamed."""

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
from loopda.runtime.log import warn_once
from loopda.text.encoding import REPLACE
from loopda.text.names import bounded

READS = 3  # attempts to read
PAUSE = 1.0  # seconds between them
TEMPORARY = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT)
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OBSTRUCTED = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY)
# errors of file systems that do not support a call: some network file systems, and some in user space
NO_FLUSHING = (
    *(errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EBADF, errno.EPERM, errno.EACCES),
    *(errno.EISDIR, errno.ENOTTY),
)
NO_REPLACING = (errno.EEXIST, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EBUSY)
# limits for the parts of a temporary name, besides the numbers of process and thread
STEM_BYTES, SUFFIX_BYTES = 120, 40

Result = TypeVar("Result")


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; if the block succeeds, it is renamed to `path` atomically.

    The temporary name has the suffix of `path`, because Pillow and matplotlib choose the format by it. If the block
    fails, the temporary file is removed and an older `path` stays unchanged. An OSError (a full disk, a missing
    permission) becomes a DeviceError.
    """
    path = Path(path)
    start, suffix = _temporary_affixes(path)
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


def _temporary_affixes(path: Path) -> tuple[str, str]:
    """Beginning and end of the names of temporary files of `path`, short enough for every file system."""
    suffix = path.suffix if len(os.fsencode(path.suffix)) <= SUFFIX_BYTES else ""
    return f".{bounded(path.name.removesuffix(suffix), STEM_BYTES)}.", suffix


def unwritable(path: Path | str, error: Exception) -> DeviceError:
    """The DeviceError that `path` cannot be written, with the remedy. error: an OSError or PyTorch's RuntimeError."""
    number = getattr(error, "errno", None)
    reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
    remedy = "check the disk and its permissions" if number not in (*NO_SPACE, None) else "free some disk space"
    remedy = "choose a shorter name" if number == errno.ENAMETOOLONG else remedy
    if number in _OBSTRUCTED and (obstacle := _obstacle(Path(path))):
        reason, remedy = obstacle, "choose another name, or move that away,"
    return DeviceError(f"{path}: cannot be written ({reason}); {remedy} and run the same command again")


def _obstacle(path: Path) -> str:
    """What is at `path`, or where it needs a folder, and prevents the writing; "" where nothing does."""
    for folder in reversed(path.parents):
        if os.path.lexists(folder) and not folder.is_dir():
            return f"{folder} is a file or a link to nowhere, and not a folder"
    return "a folder has that name" if path.is_dir() else ""


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Hold the lock of `path`, a file or folder that a stage writes, and remove temporary files of killed writers.

    A folder that was made for the lock is removed if nothing is written into it. DataError where another process holds
    the lock, with its name; DeviceError where nothing can be written.
    """
    path = resolve_dots(path)
    made = [folder for folder in path.parents if not folder.exists()]
    lock = take_lock(path)
    try:
        start, suffix = _temporary_affixes(path)
        for orphan in path.parent.glob(f"{glob.escape(start)}*.part{glob.escape(suffix)}"):
            orphan.unlink(missing_ok=True)
        yield
    finally:
        lock.release()
        with suppress(OSError):
            for folder in made:
                folder.rmdir()


def resolve_dots(path: Path) -> Path:
    """`path`; if it ends in `.` or `..`, the absolute path, so that `path.name` and `path.parent` are meaningful."""
    return path if path.name not in ("", "..") else Path(os.path.abspath(path))


def take_lock(path: Path) -> Lock:
    """Take the lock of `path`; errors as in `sole_writer`. `Lock.release` and the end of the process release it."""
    path = resolve_dots(path)
    place = path.parent / f".{bounded(path.name)}.lock"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        return locks.take(place)
    except Held as held:
        raise DataError(f"{path}: another process ({held}) is writing it; end that one first") from None
    except OSError as error:
        raise unwritable(place, error) from error


def move_into_place(temporary: Path, path: Path) -> None:
    """Rename the finished file `temporary` to `path`, on the same disk, atomically."""
    flush(temporary)
    try:
        os.replace(temporary, path)
    except OSError as error:
        if error.errno not in NO_REPLACING or not path.is_file():
            raise
        _replace_in_two_steps(temporary, path)
    flush(path.parent)


def _replace_in_two_steps(temporary: Path, path: Path) -> None:
    """`move_into_place` in two steps, for file systems that refuse to rename a file to an existing name."""
    start, suffix = _temporary_affixes(path)
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
        "this file system cannot replace a file in one step; a file that is interrupted in between is missing, and the"
        " same command makes it again",
    )


def flush(path: Path) -> None:
    """Flush `path`, a file or a folder, to the disk (fsync), so that it survives a crash of the machine.

    Some network file systems do not support that, mostly for folders; then there is one warning.
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
        f"this file system cannot keep {what} safe from a power failure (fsync: {reason}); after one, check the newest"
        " results",
    )


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8) as the whole file `path`, atomically."""
    with written(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def append_text(path: Path, text: str) -> None:
    """Append `text` (UTF-8) to the file `path`, all of it or nothing; DeviceError where it cannot be written.

    For text that people read: bytes of names that are not UTF-8 are escaped.
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
    """Write `value` as JSON, atomically. ValueError for NaN, which JSON does not have: missing numbers are null."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def sha256(path: Path) -> str:
    """The SHA-256 of the file's bytes, in hexadecimal."""

    def read() -> str:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    return retried(read)


def retried(read: Callable[[], Result]) -> Result:
    """read(), with up to READS attempts where a network disk fails temporarily."""
    for _ in range(READS - 1):
        try:
            return read()
        except OSError as error:
            if error.errno not in TEMPORARY:
                raise
            time.sleep(PAUSE)
    return read()
