"""Locks between processes, on file systems with and without flock.

The kernel releases a lock (flock) when its process ends, however it ends. Some file systems of clusters do not support
flock (Lustre mounted without `-o flock`). There, a file is the lock: only one process can create it. It names its
holder, which writes a new number into it every HEARTBEAT seconds. A lock file whose number does not change is
abandoned; this works between machines.
"""

import atexit
import contextlib
import errno
import fcntl
import os
import re
import secrets
import threading
import time
from pathlib import Path
from typing import TextIO

from loopda.runtime.log import warn_once

# errors of flock on file systems without locks
UNSUPPORTED = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.EPERM, errno.EACCES)
HEARTBEAT = 10.0  # seconds between two numbers
WATCH = 3.5 * HEARTBEAT  # how long a lock file is watched before it counts as abandoned
SHORTEST_WATCH = 2.0  # seconds for which at least an empty lock file is watched: its holder may be about to write
POLL = 0.2  # seconds between two reads of it
ATTEMPTS = 100  # to take a lock that other processes take and remove at the same time


class Held(Exception):
    """Another process holds the lock; the text says which."""


class Lock:
    """A lock that this process holds; the end of the process releases it too."""

    def __init__(self, place: Path, text: str, file: TextIO | None = None):
        self.place, self._text, self._file = place, text, file
        self._process = os.getpid()
        self._released = threading.Event()
        if file is None:
            threading.Thread(target=self._beat, daemon=True).start()
            atexit.register(self.release)

    def release(self) -> None:
        """Release the lock; a second call does nothing."""
        if self._released.is_set():
            return
        self._released.set()
        with contextlib.suppress(OSError):
            if self._file or (self._process == os.getpid() and self._is_mine()):
                self.place.unlink(missing_ok=True)
        if self._file:
            self._file.close()
        else:
            atexit.unregister(self.release)

    def _beat(self) -> None:
        number = 0
        while not self._released.wait(HEARTBEAT):
            number += 1
            try:
                if not self._is_mine():
                    raise FileNotFoundError
                with open(self.place, "r+", encoding="utf-8") as file:  # closed each time, for NFS
                    file.write(_numbered(self._text, number))
            except FileNotFoundError:
                if not self._released.is_set():
                    name = self.place.name
                    warn_once(name, self.place.parent, f"another process took the lock {name}; end one of the two")
                return
            except OSError:  # a temporary failure of the disk
                continue

    def _is_mine(self) -> bool:
        return _read(self.place).startswith(self._text)


def take(place: Path, *, watch: float | None = None) -> Lock:
    """Take the lock of the file `place`. Held where another process has it; OSError where nothing can be written.

    watch: on a file system without locks, the seconds for which the lock file of another machine is watched before it
    counts as abandoned; by default WATCH.
    """
    for _ in range(ATTEMPTS):
        file = open(place, "a+", encoding="utf-8")  # noqa: SIM115
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            with file:
                raise Held(file.readline().strip()) from None
        except OSError as error:
            file.close()
            if error.errno not in UNSUPPORTED:
                raise
            return _without_locks(place, watch)
        text = _holder()
        file.truncate(0)
        file.write(_numbered(text, 0))
        file.flush()
        # the previous holder may have removed the file meanwhile; inode numbers (st_ino) are not reliable here
        with contextlib.suppress(FileNotFoundError):
            if _read(place).startswith(text):
                return Lock(place, text, file)
        file.close()
    raise Held("several processes that come and go")


def is_alive(pid: int) -> bool:
    """Whether a process with this number exists on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def warn_of_missing_locks(folder: Path) -> None:
    """Warn, once per file system, that the file system of `folder` has no locks."""
    warn_once(
        "locks",
        folder,
        "this file system has no locks (flock), so that files stand for them; the lock of a machine that was switched"
        f" off is free after {WATCH:.0f} seconds",
    )


def by_file(place: Path, *, watch: float | None = None) -> Lock:
    """Take the lock that consists in the existence of the file `place`; Held and OSError as in `take`."""
    for _ in range(ATTEMPTS):
        text = _holder()
        try:
            descriptor = os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            _remove(place, _abandoned(place, WATCH if watch is None else watch))
            continue
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(_numbered(text, 0))
        return Lock(place, text)
    raise Held("several processes that come and go")


def _without_locks(place: Path, watch: float | None) -> Lock:
    """Take a lock file beside `place`: `place` itself exists whether or not the lock is held."""
    with contextlib.suppress(OSError):
        if not place.stat().st_size:
            place.unlink()
    warn_of_missing_locks(place.parent)
    return by_file(place.with_suffix(".held"), watch=watch)


def _abandoned(place: Path, watch: float) -> str | None:
    """The text of an abandoned lock file; None where the file is gone; Held where its holder is alive."""
    first = None
    began = time.monotonic()
    while True:
        try:
            text = _read(place)
        except FileNotFoundError:
            return None
        first = text if first is None else first
        alive = _is_holder_alive(text)
        if alive is False:
            return text
        if alive or text != first or (watch == 0 and text):
            raise Held(text.partition("\n")[0])
        if time.monotonic() - began >= max(watch, SHORTEST_WATCH):
            return text
        time.sleep(POLL)


def _is_holder_alive(text: str) -> bool | None:
    """Whether the process that wrote `text` is alive; None if it is on another machine or in another container."""
    found = re.match(r"(\S+) pid (\d+) since .*\n(\S+) (\S+) ", text)
    if not found or (found[1], found[3]) != (os.uname().nodename, _namespace()) or not _started(os.getpid()):
        return None
    return _started(int(found[2])) == found[4]


def _remove(place: Path, text: str | None) -> None:
    """Remove the lock file `place` if its text is still `text`, so that only one of several processes removes it."""
    if text is None:
        return
    aside = place.with_name(f"{place.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with contextlib.suppress(FileNotFoundError):
        os.rename(place, aside)
        if _read(aside) != text:
            os.rename(aside, place)
            return
        aside.unlink()


def _holder() -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    process = f"{_namespace()} {_started(os.getpid()) or '-'} {secrets.token_hex(8)}"
    return f"{os.uname().nodename} pid {os.getpid()} since {since}\n{process}"


def _numbered(holder: str, number: int) -> str:
    """The text of a lock file; all numbers give the same length, so that it can be overwritten."""
    return f"{holder} {number:010d}\n"


def _namespace() -> str:
    """The namespace of process numbers: in two containers of one machine, a number means different processes."""
    try:
        return str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return "-"


def _started(pid: int) -> str:
    """The start time of process `pid` of this machine, in kernel ticks; "" without such a process or without /proc."""
    try:
        state, *fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except (OSError, ValueError):
        return ""
    return "" if state == "Z" else fields[18]


def _read(place: Path) -> str:
    return place.read_text(encoding="utf-8", errors="replace")
