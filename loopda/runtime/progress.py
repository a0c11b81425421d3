"""The progress of a running stage, for `python -m loopda.status` in another terminal.

A small file beside the log of a stage, <log>.progress.json, says which process runs the stage, which step it has
reached and how it ended. The process holds a lock on the log. The kernel frees the lock when the process ends, however
it ends.
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

ATTEMPTS = 5  # to lock the log; `is_held` may hold the lock for a moment


@contextlib.contextmanager
def at_work(log: Path | None) -> Iterator[None]:
    """Report that this process runs the stage of `log` while the block runs, and then how the block ended.

    An exception that leaves the block is reported with its `exit_code`, or 1 if it has none. Nothing is reported
    without a log. In a distributed training only the first process reports.
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
            report_progress(log, exit_code=code, error=f"{type(error).__name__}: {error}".rstrip(": "))
            raise
        report_progress(log, exit_code=0)


def report_progress(log: Path | None, **facts: Any) -> None:
    """Update the progress file of `log` with `facts`; `read` lists their names."""
    if log is None or not processes.is_first():
        return
    reported = read(log)
    if reported.get("pid") != os.getpid():
        reported = _process()
    _write(log, reported | facts | {"time": time.time()})


def read(log: Path) -> dict[str, Any]:
    """The last report of the stage of `log`; {} where there is none, or the file is damaged.

    Keys: host, pid, slurm_job (or None), started and time (of the last report; both in seconds since the epoch). A
    training adds step, steps, seconds_left and warnings. A process that has ended adds exit_code and error.
    """
    try:
        reported = json.loads(_beside(log).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return reported if isinstance(reported, dict) else {}


def is_held(log: Path) -> bool:
    """Whether a process is running the stage of `log`, on any host with which the file system shares its locks.

    On a file system without locks: whether the process that reported last ran on this host and is alive.
    """
    try:
        with open(log, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        reported = read(log)
        here = reported.get("host") == os.uname().nodename and isinstance(reported.get("pid"), int)
        return error.errno in locks.UNSUPPORTED and here and locks.is_alive(reported["pid"])
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
    """Replace the file atomically, without fsync: the report need not survive a crash of the machine."""
    path = _beside(log)
    temporary = path.with_name(f".{bounded(path.name)}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(facts) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    except OSError:  # a full disk must not end a training because of this file
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
