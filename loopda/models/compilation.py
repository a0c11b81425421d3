"""Networks whose passes torch.compile turns into kernels of their own, for long trainings on a GPU.

Each network is compiled by itself, once for every way in which it is called: which sizes, which heads, what learns. The
loops, the losses and the optimisers stay as they are written. What is compiled is kept on disk, by PyTorch, in
TORCHINDUCTOR_CACHE_DIR, so that a training that goes on, or another one of the same networks, need not wait again.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch

from loopda.errors import DeviceError

MOST_WAYS = 64  # of calling one kind of network; PyTorch's own limit (8) is for what should have had no ways


@functools.cache
def compiled_once(forward: Callable[..., Any]) -> Callable[..., Any]:
    """The function, or a network's forward as its class has it, compiled when it is first called in a new way."""
    # imported by torch.compile in any case, which takes a second that others need not wait for
    import torch._dynamo.config
    import torch._functorch.config

    torch._dynamo.config.recompile_limit = max(MOST_WAYS, torch._dynamo.config.recompile_limit)
    torch._functorch.config.donated_buffer = False  # a graph may go back twice (loopda/models/heads_apart.py)
    return torch.compile(forward, dynamic=False)


def check_compiler(device: torch.device) -> None:
    """DeviceError where torch.compile has not what it needs for `device`: a C++ compiler, on a GPU Triton."""
    try:
        compiled_once(_probe)(torch.ones(8, device=device))
    except Exception as error:  # a dozen types, by what is missing
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DeviceError(
            f"compute.compiled: torch.compile does not work on this machine ({reason}); install a C++ compiler "
            "(apt-get install g++), or set compute.compiled to false"
        ) from error


def _probe(x: torch.Tensor) -> torch.Tensor:
    return x.sin() + 1
