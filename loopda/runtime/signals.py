"""Signals that ask a process to end: they are only remembered, so that a loop can finish its current item first.

with remembered():
    for image in interruptible(images, "the same command starts again"):
        ...
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from loopda.errors import Interrupted
from loopda.runtime import processes

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
TOGETHER = 5.0  # seconds in which several SIGTERM count as one: SLURM sends two to a job that is out of time
AGAIN = "the same command starts this stage again"

Item = TypeVar("Item")


class _Memory:
    number = 0  # of the signal that came, or 0
    since = 0.0  # when it came
    watch: object = None  # the block that installed the handlers


@contextmanager
def remembered() -> Iterator[None]:
    """In this block, the first of SIGNALS is only remembered; a second one ends the process at once.

    Several SIGTERM within TOGETHER seconds count as one. With several processes so does any signal, because torchrun
    passes it on once more. Blocks may be nested: the outermost installs the handlers, and restores the earlier ones at
    its end. If nohup has made the process ignore SIGHUP, it stays ignored. In threads other than the main one, the
    block does nothing.
    """
    watched = any(signal.getsignal(number) is _remember for number in SIGNALS)
    if watched or threading.current_thread() is not threading.main_thread():
        yield
        return
    _Memory.number, _Memory.watch = 0, (watch := object())
    kept = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else set()
    before: dict[int, Any] = {number: signal.signal(number, _remember) for number in SIGNALS if number not in kept}
    try:
        yield
    finally:
        if _Memory.watch is watch:  # false for a generator that is closed late, after another block began
            for number, handler in before.items():
                signal.signal(number, handler)
            _Memory.number, _Memory.watch = 0, None


def received() -> int:
    """The number of the signal that asked the process to end, or 0."""
    return _Memory.number


def interruptible(items: Iterable[Item], remedy: str = AGAIN) -> Iterator[Item]:
    """Yield `items`; after a signal, raise Interrupted with the `remedy` instead of yielding the next item."""
    with remembered():
        for item in items:
            if received():
                raise Interrupted(f"stopped by signal {received()}; {remedy}")
            yield item


def leave_to_parent() -> None:
    """In a worker process: ignore SIGNALS, which reach the whole process group, and end when the parent ends."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)

    def follow() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _remember(number: int, frame: object) -> None:
    repeated = number == signal.SIGTERM or processes.count() > 1
    if repeated and number == _Memory.number and time.monotonic() - _Memory.since < TOGETHER:
        return
    if _Memory.number:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    _Memory.number, _Memory.since = number, time.monotonic()
