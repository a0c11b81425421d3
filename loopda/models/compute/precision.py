"""The precision in which networks compute, and whether they are compiled.

Inside `computing_in("bf16")` every `mixed` network runs under torch.autocast: its convolutions and matrix products take
16 bits, while its weights and the statistics of its normalisations stay fp32. Its outputs are fp32 again, so that
losses, softmax, entropy, similarities and labels are computed in fp32 on every device. Autocast alone would not ensure
that: it keeps softmax in fp32 on GPUs, but not on CPUs. With `compiled`, torch.compile runs the networks
(compilation.py).
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from loopda.models.compute.compilation import compiled_once

Precision = Literal["fp32", "bf16", "fp16"]


class ComputeMode(NamedTuple):
    """How networks compute. dtype: the type of 16 bits, or None for fp32. compiled: by torch.compile, or eager."""

    dtype: torch.dtype | None = None
    compiled: bool = False


_DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
_EAGER_FP32 = ComputeMode()
_mode: ContextVar[ComputeMode] = ContextVar("compute_mode", default=_EAGER_FP32)

NetworkClass = TypeVar("NetworkClass", bound=type[nn.Module])


@contextmanager
def computing_in(precision: Precision, *, compiled: bool = False) -> Iterator[None]:
    """In this block and this thread `mixed` networks compute in `precision`. Outside any such block: fp32, eager."""
    before = _mode.get()
    _mode.set(ComputeMode(_DTYPES[precision], compiled))
    try:
        yield
    finally:
        _mode.set(before)


def mixed(network: NetworkClass) -> NetworkClass:
    """Decorate the class of a network: its forward follows `computing_in`, and its outputs are fp32."""
    forward = network.forward

    @functools.wraps(forward)
    def in_current_mode(self: nn.Module, *inputs: Any, **options: Any) -> Any:
        dtype, compiled = _mode.get()
        # a network within a compiled one is compiled with it
        run = compiled_once(forward) if compiled and not torch.compiler.is_compiling() else forward
        if dtype is None:
            return run(self, *inputs, **options)
        with torch.autocast(inputs[0].device.type, dtype=dtype):
            return tree_map_only(Tensor, Tensor.float, run(self, *inputs, **options))

    network.forward = in_current_mode
    return network


class ScoreConvolution(nn.Conv2d):
    """The last layer of a discriminator, which computes in fp32 even where the network does not.

    Near 1, neighbouring numbers of bf16 are 0.004 to 0.008 apart, as much as the scores of a real image and of a
    translation differ.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype not in (torch.bfloat16, torch.float16):
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())
