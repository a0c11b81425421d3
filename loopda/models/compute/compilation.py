"""Networks that torch.compile turns into fused kernels, for long trainings on a GPU.

Each network is compiled by itself, once for every combination of input sizes, heads and trainable parameters with which
it is called. The loops, the losses and the optimisers are not compiled. PyTorch keeps the kernels on disk, in
TORCHINDUCTOR_CACHE_DIR, so that a resumed training, or another one of the same networks, need not compile again.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch

from loopda.errors import DeviceError

MOST_VARIANTS = 64  # compiled for one class of networks; PyTorch would fall back to eager mode after 8


@functools.cache
def compiled_once(forward: Callable[..., Any]) -> Callable[..., Any]:
    """`forward`, a function or that of a class of networks, which is compiled at each first call of a new kind.

    This sets two options of PyTorch for the whole process: it compiles up to MOST_VARIANTS of one function, and lets a
    graph be used in more than one backward pass.
    """
    import torch._dynamo.config  # takes a second, so it is imported only where something is compiled
    import torch._functorch.config

    torch._dynamo.config.recompile_limit = max(MOST_VARIANTS, torch._dynamo.config.recompile_limit)
    torch._functorch.config.donated_buffer = False  # loopda/models/compute/heads_apart.py
    return torch.compile(forward, dynamic=False)


def check_compiler(device: torch.device) -> None:
    """Compile a small function for `device`; DeviceError where torch.compile lacks what it needs for that."""
    x = torch.ones(8, device=device)
    try:
        compiled_once(_probe)(x)
    except Exception as error:  # torch raises a dozen types, depending on what is missing
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        missing = "Triton (pip install triton) or a C compiler" if device.type == "cuda" else "a C++ compiler"
        raise DeviceError(
            f"compute.compiled: torch.compile does not work on this machine ({reason}); perhaps {missing} is missing "
            "(apt-get install g++); install it, or set compute.compiled to false"
        ) from error


def _probe(x: torch.Tensor) -> torch.Tensor:
    return x.sin() + 1
