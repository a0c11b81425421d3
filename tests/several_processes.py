"""Stages of the miniature in one process and in two: on CPUs, over the loopback interface, in double precision.

In double precision rounding is no excuse: what differs in the ninth digit is wrong.
"""

import importlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import miniature
import torch
from double_precision import in_double_precision
from torch import distributed as collective

from loopda.runtime import distributed
from loopda.runtime.command import command
from loopda.training import loop

SECONDS = 1200  # at most, for all work of a process


class Task(NamedTuple):
    """A stage to be run, with other arguments than the miniature's own."""

    name: str
    stage: str
    changes: Mapping[str, Any]


Work = Callable[..., None]


def in_processes(count: int, work: Work, folder: Path, *arguments: Any) -> list[int | None]:
    """Call work(folder, *arguments) in `count` new processes that work together; returns their exit codes.

    They may also work alone, one by one, inside `alone`.
    """
    context = multiprocessing.get_context("spawn")
    children = [
        context.Process(target=_join_and_work, args=(rank, count, work, folder, *arguments)) for rank in range(count)
    ]
    for child in children:
        child.start()
    try:
        for child in children:
            child.join(SECONDS)
        return [child.exitcode for child in children]
    finally:
        for child in children:
            child.kill()


def _join_and_work(rank: int, count: int, work: Work, folder: Path, *arguments: Any) -> None:
    os.environ |= {"GLOO_SOCKET_IFNAME": "lo", "RANK": str(rank), "WORLD_SIZE": str(count)}
    torch.set_num_threads(1)
    store = f"file://{folder / 'store'}"
    collective.init_process_group("gloo", init_method=store, rank=rank, world_size=count)
    work(folder, *arguments)


@contextmanager
def alone() -> Iterator[bool]:
    """Inside, the first process works as if there were no other; the others skip the work, for which it is false."""
    first = os.environ["RANK"] == "0"
    count = os.environ["WORLD_SIZE"]
    os.environ["WORLD_SIZE"] = "1"
    with distributed.independent():
        yield first
    os.environ["WORLD_SIZE"] = count
    distributed.wait()


def record_losses(path: Path, interrupt: Callable[[int], None] = lambda step: None) -> None:
    """From now on, what a training records in each step is added to the file; `interrupt` sees each step before."""

    def record(self: loop.Training, **values: Any) -> None:
        interrupt(self.step + 1)
        plain = {name: float(torch.as_tensor(value).detach()) for name, value in values.items()}
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": self.step + 1, **plain}) + "\n")

    loop.Training.record = record


def recorded_losses(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def largest_difference(one: object, other: object) -> float:
    """Between the numbers of two checkpoints of the same form."""
    if isinstance(one, torch.Tensor):
        return float((one.double() - other.double()).abs().max()) if one.numel() else 0.0
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        return max((largest_difference(one[key], other[key]) for key in one), default=0.0)
    assert one == other
    return 0.0


def run(mini: miniature.Miniature, task: Task, out: Path) -> None:
    """Run the task with its outputs in `out`; each process notes its losses in a file beside that."""
    out.parent.mkdir(parents=True, exist_ok=True)
    record_losses(out.parent / f"{out.name}.{os.environ['RANK']}.jsonl")
    mini.run(task.stage, out, **task.changes)


def run_each(folder: Path, mini: miniature.Miniature, tasks: Sequence[Task]) -> None:
    """Every task in one process, then in all: in the folders one/<name> and two/<name>."""
    in_double_precision()
    for task in tasks:
        with alone() as first:
            if first:
                run(mini, task, folder / "one" / task.name)
        run(mini, task, folder / "two" / task.name)


def exit_code(stage: str, flags: Sequence[str]) -> int:
    """How the command of a stage ends in this process."""
    try:
        command(importlib.import_module(f"loopda.stages.{stage}").run, list(flags))
    except SystemExit as exited:
        return int(exited.code)
    return 0
