"""Locks where the file system has some, and where it has none."""

import errno
import fcntl
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loopda.errors import DataError
from loopda.runtime import lease, locks, log
from loopda.runtime.files import sole_writer, take_lock
from loopda.runtime.locks import Held, take
from loopda.runtime.progress import at_work, is_held

HOLDER = """
import errno, fcntl, os, sys
from pathlib import Path
from loopda.runtime import locks

def none(*_):
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

fcntl.flock = none
lock = locks.take(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""
ELSEWHERE = "othernode pid 7 since 2026-01-01 10:00:00\n4026531836 99 0123456789abcdef 0000000003\n"


@pytest.fixture(params=["ENOSYS", "ENOLCK", "EOPNOTSUPP", "EINVAL"])
def without_locks(request, monkeypatch) -> None:
    def none(*_: object) -> None:
        number = getattr(errno, request.param)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", none)


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(log, "_warned", set())
    monkeypatch.setattr(locks, "HEARTBEAT", 0.05)
    monkeypatch.setattr(locks, "WATCH", 0.4)
    monkeypatch.setattr(locks, "POLL", 0.02)
    monkeypatch.setattr(locks, "SHORTEST_WATCH", 0.2)


@pytest.fixture
def holder(tmp_path) -> Iterator[Callable[[], subprocess.Popen]]:
    """Start another process that holds the lock of `model.pt` where there are no locks of the kernel's."""
    started = []

    def start() -> subprocess.Popen:
        command = [sys.executable, "-c", HOLDER, str(tmp_path / ".model.pt.lock")]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "held\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.fault(75, "a warning, once; the stage works, and nothing is left of its lock")
def test_a_stage_works_where_there_are_no_locks_and_leaves_none(tmp_path, without_locks, caplog):
    for name in ("model.pt", "other.pt"):
        with sole_writer(tmp_path / name):
            (tmp_path / name).touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pt", "other.pt"]
    (warning,) = (record.getMessage() for record in caplog.records)
    assert "this file system has no locks" in warning


@pytest.mark.fault(75, "a second writer is refused by the host and pid of the first; a killed one's lock is free")
def test_without_locks_a_second_writer_is_refused_until_the_first_is_killed(tmp_path, without_locks, holder):
    first = holder()
    with pytest.raises(DataError, match=f"another process .*pid {first.pid} since"):
        take_lock(tmp_path / "model.pt")
    first.kill()
    first.wait()
    take_lock(tmp_path / "model.pt").release()


def test_without_locks_the_end_of_a_process_releases_what_it_held(tmp_path, without_locks, holder):
    holder().communicate("")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault(75, "the lock of another machine is free when it gives no sign of life any more")
def test_a_lock_of_another_machine_is_refused_while_it_changes_and_free_afterwards(
    tmp_path, monkeypatch, without_locks
):
    place = tmp_path / ".model.pt.held"
    place.write_text(ELSEWHERE)
    changed = threading.Timer(0.1, lambda: place.write_text(ELSEWHERE.replace("3\n", "4\n")))
    monkeypatch.setattr(locks, "WATCH", 60)
    changed.start()
    with pytest.raises(DataError, match="othernode pid 7"):
        take_lock(tmp_path / "model.pt")
    changed.join()
    monkeypatch.setattr(locks, "WATCH", 0.1)
    take_lock(tmp_path / "model.pt").release()
    assert list(tmp_path.iterdir()) == []


def test_a_holder_gives_signs_of_life_on_one_line_of_the_same_length(tmp_path, without_locks):
    lock = take(tmp_path / ".model.pt.lock")
    texts = set()
    deadline = time.monotonic() + 10
    while len(texts) < 3 and time.monotonic() < deadline:
        texts.add((tmp_path / ".model.pt.held").read_text())
        time.sleep(0.01)
    lock.release()
    assert len(texts) >= 3
    assert len({len(each) for each in texts}) == 1
    assert len({re.sub(r"\d+\n$", "", each) for each in texts}) == 1


def test_a_number_that_another_process_has_got_since_does_not_keep_a_lock(tmp_path, without_locks):
    """As after the machine was switched off: this process has the number, but it started at another time."""
    lock = take(tmp_path / ".model.pt.lock")
    text_of_it = (tmp_path / ".model.pt.held").read_text()
    lock.release()
    started = locks._started(os.getpid())
    (tmp_path / ".model.pt.held").write_text(text_of_it.replace(f" {started} ", " 1 "))
    take(tmp_path / ".model.pt.lock").release()


@pytest.mark.fault(77, "locks do not rely on the numbers of files")
def test_a_lock_is_taken_where_a_file_has_another_number_each_time(tmp_path, monkeypatch):
    numbers = iter(range(10**6))
    stat = os.stat

    def unsteady(path, *arguments, **options):
        found = stat(path, *arguments, **options)
        return os.stat_result((found.st_mode, next(numbers), *found[2:]))

    monkeypatch.setattr(os, "stat", unsteady)
    monkeypatch.setattr(os, "fstat", unsteady)
    lock = take(tmp_path / "lock")
    with pytest.raises(Held, match=f"pid {os.getpid()}"):
        take(tmp_path / "lock")
    lock.release()


def test_an_error_that_is_no_lack_of_locks_stays_one(tmp_path, monkeypatch):
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(OSError, match="Input/output error"):
        take(tmp_path / "lock")


@pytest.mark.fault(75, "the status asks whether the process is alive")
def test_without_locks_the_status_asks_for_the_process(tmp_path, without_locks):
    log = tmp_path / "seed0.log"
    with at_work(log):
        assert is_held(log)
    report = (tmp_path / "seed0.progress.json").read_text()
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    (tmp_path / "seed0.progress.json").write_text(report.replace(str(os.getpid()), gone.stdout.decode().strip()))
    assert not is_held(log)


@pytest.mark.fault(75, "two jobs have different GPUs, and that of a killed one is free")
def test_without_locks_gpus_are_leased_by_files(tmp_path, monkeypatch, without_locks):
    monkeypatch.setenv("LOOPDA_LEASES", str(tmp_path / "leases"))
    monkeypatch.setattr(lease, "_held", {})
    assert lease.lease(["GPU-a", "GPU-b"], wait=0) == 0
    monkeypatch.setattr(lease, "_held", {})  # as if it were another process
    assert lease.lease(["GPU-a", "GPU-b"], wait=0) == 1
    monkeypatch.setattr(lease, "_held", {})
    with pytest.raises(lease.DeviceError, match=rf"GPU-a by \S+ pid {os.getpid()} "):
        lease.lease(["GPU-a", "GPU-b"], wait=0)


@pytest.mark.fault(77, "a lease whose file's mode cannot be changed is one all the same")
def test_a_gpu_is_leased_where_modes_of_files_cannot_be_changed(tmp_path, monkeypatch):
    def denied(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setenv("LOOPDA_LEASES", str(tmp_path / "leases"))
    monkeypatch.setattr(lease, "_held", {})
    monkeypatch.setattr(Path, "chmod", denied)
    assert lease.lease(["GPU-a"], wait=0) == 0
