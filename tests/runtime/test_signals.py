"""Signals that ask to end: one is remembered until the piece of work is done, two end the process."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from loopda.errors import Interrupted
from loopda.runtime.signals import SIGNALS, interruptible, received, remembered


@pytest.fixture(autouse=True)
def without_nohup() -> Iterator[None]:
    """SIGHUP is not ignored, whatever the tests run under."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in SIGNALS]


@pytest.mark.parametrize("sent", SIGNALS)
@pytest.mark.fault(6, "a signal of any kind stops every loop between two pieces of work, with exit code 75")
def test_a_loop_finishes_the_item_in_work_and_takes_no_other(sent):
    before, done = handlers(), []

    def work() -> None:
        for item in interruptible(range(9), "try again"):
            if item == 3:
                os.kill(os.getpid(), sent)
            done.append(item)

    with pytest.raises(Interrupted, match=f"stopped by signal {int(sent)}; try again") as raised:
        work()
    assert raised.value.exit_code == 75
    assert done == [0, 1, 2, 3]
    assert handlers() == before
    assert received() == 0


def test_a_signal_during_the_last_item_is_too_late_to_stop_anything():
    with remembered():
        for item in interruptible(range(3)):
            if item == 2:
                os.kill(os.getpid(), signal.SIGTERM)
        assert received() == signal.SIGTERM


def test_a_signal_before_a_loop_stops_it_at_its_first_item():
    with remembered():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted):
            list(interruptible([1]))


def test_what_nohup_ignores_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with remembered():
        os.kill(os.getpid(), signal.SIGHUP)
        assert received() == 0
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_thread_works_without_watching_signals():
    seen: list[object] = []
    thread = threading.Thread(target=lambda: seen.extend(interruptible([1, 2])))
    thread.start()
    thread.join()
    assert seen == [1, 2]


@pytest.mark.parametrize(("first", "second"), [("SIGTERM", "SIGINT"), ("SIGINT", "SIGINT"), ("SIGUSR1", "SIGTERM")])
@pytest.mark.fault(3, "the second signal ends the process at once; what was saved before stays valid")
def test_a_second_signal_ends_a_loop_at_once(first, second):
    code = (
        "import os, signal\n"
        "from loopda.runtime.signals import interruptible\n"
        "for item in interruptible(range(9)):\n"
        "    print(item, flush=True)\n"
        f"    os.kill(os.getpid(), signal.{first})\n"
        f"    os.kill(os.getpid(), signal.{second})\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert process.returncode == -getattr(signal, second)
    assert process.stdout == "0\n"
