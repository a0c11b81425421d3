"""What a stage at work tells of itself, for `python -m loopda.status` in another terminal.

Beside a stage's log lies a small file, <log>.progress.json: which process works there, how far it is, how it ended.
The process holds a lock on the log, which the kernel frees when the process ends, whatever ends it.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from loopda.runtime import locks, processes
from loopda.text.names import bounded

ATTEMPTS = 5  # to lock the log, which `is_held` locks for a moment


@contextlib.contextmanager
def at_work(log: Path | None) -> Iterator[None]:
    """Tell that this process works on the stage of `log` while the block runs, and afterwards how the block ended.

    What leaves the block as an exception is told with its `exit_code`, or 1. Without a log nothing is told, nor by any
    but the first process of a distributed training.
    """
    if log is None or not processes.is_first():
        yield
        return
    with open(log, "a", encoding="utf-8") as file:
        _lock(file)
        _write(log, _process())
        try:
            yield
        except BaseException as error:
            interrupted = isinstance(error, KeyboardInterrupt)
            code = 130 if interrupted else getattr(error, "exit_code", 1)
            tell(log, exit_code=code, error=f"{type(error).__name__}: {error}".rstrip(": "))
            raise
        tell(log, exit_code=0)


def tell(log: Path | None, **facts: Any) -> None:
    """Add `facts` to what this process has told of itself beside `log`, as `read` names them."""
    if log is None or not processes.is_first():
        return
    told = read(log)
    if told.get("pid") != os.getpid():
        told = _process()
    _write(log, told | facts | {"time": time.time()})


def read(log: Path) -> dict[str, Any]:
    """What the last process that worked on the stage of `log` told; {} when none did, or its file is damaged.

    host, pid, slurm_job (or None), started and time (of the last word), in seconds since the epoch; step, steps,
    seconds_left and warnings of a training; exit_code and error when it has ended.
    """
    try:
        told = json.loads(_beside(log).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def is_held(log: Path) -> bool:
    """Whether a process is at work on the stage of `log`, as far as the file system shares locks between hosts.

    Where it has none at all, whether the process of this host that told of itself there is alive.
    """
    try:
        with open(log, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        told = read(log)
        here = told.get("host") == os.uname().nodename and isinstance(told.get("pid"), int)
        return error.errno in locks.LACKING and here and locks.lives(told["pid"])
    return False


def _process() -> dict[str, Any]:
    now = time.time()
    job = os.environ.get("SLURM_JOB_ID")
    return {"host": os.uname().nodename, "pid": os.getpid(), "slurm_job": job, "started": now, "time": now}


def _beside(log: Path) -> Path:
    return Path(log).with_suffix(".progress.json")


def _lock(file: TextIO) -> None:
    for _ in range(ATTEMPTS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(0.01)
        except OSError:  # a file system without locks
            return


def _write(log: Path, facts: dict[str, Any]) -> None:
    """Replace the file in one step; it need not survive a crash of the machine, so nothing waits for the disk."""
    path = _beside(log)
    temporary = path.with_name(f".{bounded(path.name)}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(facts) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    except OSError:  # a full disk ends no training for the sake of this file
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
