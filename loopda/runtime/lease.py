"""GPU leases: no two jobs on one machine use the same device, and a job that dies frees its device.

A lease is a lock on a file with the name of the device. The kernel releases it when the process ends, however it ends.
On a file system without locks, a lock file takes its place; one whose process has ended does not count.
"""

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from loopda.errors import DeviceError
from loopda.runtime import locks
from loopda.runtime.locks import Held, Lock

WAIT_SECONDS = 60.0  # a killed job needs some seconds to free its device; after more, too many jobs are running
POLL_SECONDS = 0.2

_held: dict[str, TextIO | Lock] = {}  # the leases of this process, by device


def lease(devices: Sequence[str], *, wait: float = WAIT_SECONDS) -> int:
    """Lease the first of `devices` that no other process holds, until this process ends; returns its index.

    devices: names that are the same for every process on the machine, such as UUIDs. A second call returns the same
    device. DeviceError where all are still taken after `wait` seconds; it names the holders.
    """
    for index, device in enumerate(devices):
        if device in _held:
            return index
    folder = _folder()
    deadline = time.monotonic() + wait
    while True:
        for index, device in enumerate(devices):
            if _take(folder / device):
                return index
        if time.monotonic() >= deadline:
            holders = ", ".join(f"{device} by {_holder(folder / device)}" for device in devices)
            raise DeviceError(
                f"all {len(devices)} GPUs here are taken: {holders}. Run no more GPU jobs at a time than there are GPUs"
                f" (--resources gpu={len(devices)}), or name one in CUDA_VISIBLE_DEVICES to share it"
            )
        time.sleep(POLL_SECONDS)


def is_mine(device: str) -> bool:
    """Whether this process holds `device`."""
    return device in _held


def _take(path: Path) -> bool:
    file = open(path, "a+", encoding="utf-8")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    except OSError as error:
        file.close()
        if error.errno not in locks.UNSUPPORTED:
            raise
        return _take_without_locks(path)
    file.truncate(0)
    file.write(f"pid {os.getpid()} ({Path(sys.argv[0]).stem})\n")
    file.flush()
    with contextlib.suppress(OSError):
        path.chmod(0o1600)  # the sticky bit: programs that clean /tmp leave the file alone
    _held[path.name] = file
    return True


def _take_without_locks(path: Path) -> bool:
    locks.warn_of_missing_locks(path.parent)
    try:
        _held[path.name] = locks.by_file(_file_lock(path), watch=0)
    except Held:
        return False
    return True


def _holder(path: Path) -> str:
    """The process that holds the device of the file `path`, as its lock file names it."""
    for place in (_file_lock(path), path):
        with contextlib.suppress(FileNotFoundError):
            return place.read_text(encoding="utf-8").partition("\n")[0].strip()
    return "a process that has just ended"


def _file_lock(path: Path) -> Path:
    return path.with_name(f"{path.name}.held")


def _folder() -> Path:
    """The folder of the leases: the same for all jobs of a user, so it depends on no variable except LOOPDA_LEASES.

    TMPDIR and XDG_RUNTIME_DIR differ between a terminal and a job, and the folder of the latter is removed at logout.
    """
    folder = Path(os.environ.get("LOOPDA_LEASES") or f"/tmp/loopda-{os.getuid()}")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DeviceError(
            f"{folder}: no place for GPU leases ({error.strerror}); name another in LOOPDA_LEASES"
        ) from None
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise DeviceError(f"{folder}: is somebody else's; name a folder of your own for GPU leases in LOOPDA_LEASES")
    return folder
