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

MOST_WAYS = 64  # in which one kind of network may be called; PyTorch would give up after 8


@functools.cache
def compiled_once(forward: Callable[..., Any]) -> Callable[..., Any]:
    """`forward`, a function or that of a class of networks, which is compiled when it is first called in a new way.

    For the whole process PyTorch is told to go on for MOST_WAYS, and that a graph may go back more than once.
    """
    import torch._dynamo.config  # takes a second, which those need not wait for who do not compile
    import torch._functorch.config

    torch._dynamo.config.recompile_limit = max(MOST_WAYS, torch._dynamo.config.recompile_limit)
    torch._functorch.config.donated_buffer = False  # loopda/models/compute/heads_apart.py
    return torch.compile(forward, dynamic=False)


def check_compiler(device: torch.device) -> None:
    """DeviceError where torch.compile has not what it needs for `device`, by compiling something small."""
    x = torch.ones(8, device=device)
    try:
        compiled_once(_probe)(x)
    except Exception as error:  # a dozen types, by what is missing
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        missing = "Triton (pip install triton) or a C compiler" if device.type == "cuda" else "a C++ compiler"
        raise DeviceError(
            f"compute.compiled: torch.compile does not work on this machine ({reason}); perhaps {missing} is missing "
            "(apt-get install g++); mend that, or set compute.compiled to false"
        ) from error


def _probe(x: torch.Tensor) -> torch.Tensor:
    return x.sin() + 1
