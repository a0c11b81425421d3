"""What a test may change in its process and must not leave to the next; tests/conftest.py puts it back.

So a test ends in the same way alone, after any other, and in any order.
"""

import os
import random
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from loopda.models.compute.compilation import compiled_once


class Arithmetic(NamedTuple):
    """How PyTorch computes in this process: what a stage sets for its own process, and the stages of a test too."""

    dtype: torch.dtype
    threads: int
    gradients: bool
    deterministic: bool
    deterministic_warns: bool
    cudnn_deterministic: bool
    cudnn_benchmark: bool
    cudnn_tf32: bool
    products_tf32: bool

    @classmethod
    def now(cls) -> "Arithmetic":
        return cls(
            torch.get_default_dtype(),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.allow_tf32,
            torch.backends.cuda.matmul.allow_tf32,
        )

    def put_back(self) -> None:
        if Arithmetic.now() == self:
            return
        torch.set_default_dtype(self.dtype)
        torch.set_num_threads(self.threads)
        torch.set_grad_enabled(self.gradients)
        torch.use_deterministic_algorithms(self.deterministic, warn_only=self.deterministic_warns)
        torch.backends.cudnn.deterministic = self.cudnn_deterministic
        torch.backends.cudnn.benchmark = self.cudnn_benchmark
        torch.backends.cudnn.allow_tf32 = self.cudnn_tf32
        torch.backends.cuda.matmul.allow_tf32 = self.products_tf32


@contextmanager
def same_arithmetic() -> Iterator[None]:
    """The block begins with generators of the same seeds, and leaves neither its draws nor how PyTorch computes."""
    arithmetic = Arithmetic.now()
    generators = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    random.seed(0)
    try:
        yield
    finally:
        arithmetic.put_back()
        torch.set_rng_state(generators[0])
        np.random.set_state(generators[1])  # noqa: NPY002
        random.setstate(generators[2])


@contextmanager
def same_process() -> Iterator[None]:
    """`same_arithmetic`, and besides the environment, the working folder, what Python imports from and its arguments,
    the handlers of signals, matplotlib's settings, and that nothing is compiled."""
    folder, environment = Path.cwd(), dict(os.environ)
    paths, arguments, handlers = sys.path[:], sys.argv[:], _handlers()
    settings = _matplotlib_settings()
    try:
        with same_arithmetic():
            yield
    finally:
        if Path.cwd() != folder:
            os.chdir(folder)
        if os.environ != environment:
            os.environ.clear()
            os.environ.update(environment)
        sys.path[:], sys.argv[:] = paths, arguments
        for number, handler in handlers.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        if settings != _matplotlib_settings() and settings is not None:
            dict.update(sys.modules["matplotlib"].rcParams, settings)
        if compiled_once.cache_info().currsize:
            compiled_once.cache_clear()
            torch.compiler.reset()


def _handlers() -> dict[int, object]:
    """Python's handlers of all signals that it may handle; those that other code installed it does not know."""
    found = {number: signal.getsignal(number) for number in signal.valid_signals()}
    return {number: handler for number, handler in found.items() if handler is not None}


def _matplotlib_settings() -> dict[str, object] | None:
    """None where nothing has imported matplotlib."""
    return dict(dict.items(sys.modules["matplotlib"].rcParams)) if "matplotlib" in sys.modules else None
