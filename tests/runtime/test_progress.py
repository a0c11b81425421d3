"""The progress file that a running stage keeps beside its log."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from loopda.errors import DataError, Interrupted
from loopda.runtime.progress import at_work, is_held, read, report_progress

WORKER = """
import pathlib, sys
from loopda.runtime.progress import at_work, report_progress
log = pathlib.Path(sys.argv[1])
with at_work(log):
    report_progress(log, step=3, steps=9)
    print("works", flush=True)
    sys.stdin.read()
"""


def test_a_running_process_reports_its_host_number_and_progress(tmp_path):
    log = tmp_path / "seed0.log"
    with at_work(log):
        report_progress(log, step=3, steps=9)
        report_progress(log, step=4)
        reported = read(log)
        assert (reported["host"], reported["pid"], reported["slurm_job"]) == (os.uname().nodename, os.getpid(), None)
        assert (reported["step"], reported["steps"]) == (4, 9)
        assert "exit_code" not in reported
    assert read(log)["exit_code"] == 0


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (DataError("no image"), 3, "DataError: no image"),
        (Interrupted("stopped"), 75, "Interrupted: stopped"),
        (ValueError("odd"), 1, "ValueError: odd"),
        (KeyboardInterrupt(), 130, "KeyboardInterrupt"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_exception_is_reported_with_its_exit_code_and_raised_again(tmp_path, error, code, text):
    log = tmp_path / "seed0.log"

    def work() -> None:
        with at_work(log):
            report_progress(log, step=3)
            raise error

    with pytest.raises(type(error)):
        work()
    assert (read(log)["exit_code"], read(log)["error"], read(log)["step"]) == (code, text, 3)


def test_a_new_process_reports_nothing_of_how_the_one_before_it_ended(tmp_path):
    log = tmp_path / "seed0.log"
    with pytest.raises(DataError), at_work(log):
        raise DataError("no image")
    with at_work(log):
        assert read(log).keys() == {"host", "pid", "slurm_job", "started", "time"}


def test_the_log_is_held_until_the_process_ends_even_by_sigkill(tmp_path):
    log = tmp_path / "seed0.log"
    assert not is_held(log)
    command = [sys.executable, "-c", WORKER, str(log)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "works\n"
        assert is_held(log)
        assert read(log)["pid"] == process.pid
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not is_held(log)
    assert (read(log)["step"], read(log).get("exit_code")) == (3, None)


def test_a_full_disk_ends_no_stage_and_leaves_the_last_report(tmp_path, monkeypatch):
    log = tmp_path / "seed0.log"
    report_progress(log, step=3)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    report_progress(log, step=4)
    assert read(log)["step"] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["seed0.progress.json"]


@pytest.mark.fault(74, "the status sees a stage whose log has a long name")
def test_a_log_with_a_long_name_has_a_progress_file(tmp_path):
    log = tmp_path / f"{'e' * 235}.log"
    report_progress(log, step=3)
    assert read(log)["step"] == 3


@pytest.mark.parametrize("text", ["", '{"pid": 12', "[]"])
def test_a_damaged_file_reads_as_empty(tmp_path, text):
    (tmp_path / "seed0.progress.json").write_text(text)
    assert read(tmp_path / "seed0.log") == {}


def test_in_a_distributed_training_only_the_first_process_reports(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with at_work(tmp_path / "seed0.log"):
        report_progress(tmp_path / "seed0.log", step=3)
    assert not list(tmp_path.iterdir())


def test_a_stage_without_a_log_reports_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with at_work(None):
        report_progress(None, step=3)
    assert not list(tmp_path.iterdir())
