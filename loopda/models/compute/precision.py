"""In which precision networks compute, and whether compiled.

Inside of `computing_in("bf16")` every `mixed` network runs under torch.autocast: its convolutions and matrix products
take 16 bits; its weights, and the statistics of its normalisations, stay fp32. What comes out of it is fp32 again, so
that whatever is done with it (losses, softmax, entropy, similarities, labels) is fp32 on every device: the lists of
operations that autocast keeps in fp32 differ between CPUs, whose has no softmax, and GPUs. With `compiled`, their
passes are what torch.compile makes of them (loopda/models/compute/compilation.py).
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


class Manner(NamedTuple):
    """How networks compute: in 16 bits of this type, or in fp32; compiled, or one operation after the other."""

    dtype: torch.dtype | None = None
    compiled: bool = False


_DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
_EAGER_FP32 = Manner()
_present: ContextVar[Manner] = ContextVar("manner", default=_EAGER_FP32)

Network = TypeVar("Network", bound=type[nn.Module])


@contextmanager
def computing_in(precision: Precision, *, compiled: bool = False) -> Iterator[None]:
    """In this block, and this thread, networks that are `mixed` compute in `precision`. Outside of any: fp32, eager."""
    before = _present.get()
    _present.set(Manner(_DTYPES[precision], compiled))
    try:
        yield
    finally:
        _present.set(before)


def mixed(network: Network) -> Network:
    """The class of a network, whose forward from now on obeys `computing_in` and answers in fp32."""
    forward = network.forward

    @functools.wraps(forward)
    def in_present_precision(self: nn.Module, *inputs: Any, **options: Any) -> Any:
        dtype, compiled = _present.get()
        # a network within a compiled one is compiled with it
        run = compiled_once(forward) if compiled and not torch.compiler.is_compiling() else forward
        if dtype is None:
            return run(self, *inputs, **options)
        with torch.autocast(inputs[0].device.type, dtype=dtype):
            return tree_map_only(Tensor, Tensor.float, run(self, *inputs, **options))

    network.forward = in_present_precision
    return network


class ScoreConvolution(nn.Conv2d):
    """The last layer of a discriminator, in fp32 even where the network is not.

    Near 1, scores in bf16 are 0.004 to 0.008 apart, as far as those of a real image and of a translation.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype not in (torch.bfloat16, torch.float16):
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())
