"""What the tests of interrupted trainings share: a death without a trace, and equality to the last bit."""

import gc
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from loopda.training import loop

STEP = 3  # the last step that is saved before an interruption


class Killed(BaseException):
    """Nothing catches it, so that it leaves the disk as SIGKILL does."""


SIGNALS = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}


def die() -> None:
    """What the end of a process does besides: its signal handlers are gone, and its lock is released."""
    for number, handler in SIGNALS.items():
        signal.signal(number, handler)
    gc.collect()


def killed_in(patch: pytest.MonkeyPatch, step: int) -> None:
    """Every step is saved, and the one after `step` is never finished."""
    record = loop.Training.record

    def dying(self: loop.Training, **values: Any) -> None:
        if self.step == step:
            raise Killed
        record(self, **values)

    patch.setattr(loop, "SAVE_SECONDS", 0.0)
    patch.setattr(loop.Training, "record", dying)


def identical(one: object, other: object) -> bool:
    """Equality of checkpoints: every bit of every tensor."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        same_keys = isinstance(other, dict) and one.keys() == other.keys()
        return same_keys and all(identical(one[key], other[key]) for key in one)
    return one == other


class Forgetful:
    """In the place of a part of the state, which it does not restore."""

    def load_state_dict(self, state: object) -> None:
        pass


def forgetting(patch: pytest.MonkeyPatch, part: str) -> None:
    """A training goes on without what was saved of `part`."""
    load = loop.load_state

    def without_part(folder: Path, parts: Mapping[str, Any], *others: Any) -> int:
        assert part in parts
        return load(folder, {**parts, part: Forgetful()}, *others)

    patch.setattr(loop, "load_state", without_part)
