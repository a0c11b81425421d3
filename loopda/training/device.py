"""Where the tensors live, and how reproducible the arithmetic is."""

import os

import torch

from loopda.errors import DeviceError


def choose_device(name: str = "auto") -> torch.device:
    """`auto` is the first CUDA device if there is one, else the CPU; "cpu" and "cuda" insist.

    The environment variable LOOPDA_DEVICE overrides `name`. DeviceError when CUDA is asked for and absent.
    """
    name = os.environ.get("LOOPDA_DEVICE", name)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise DeviceError(f"device {name!r}: choose auto, cpu or cuda (LOOPDA_DEVICE or the flag --device)")
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError("device cuda: PyTorch sees no CUDA device here; use --device auto or cpu")
    return torch.device(name)


def use_threads(threads: int) -> None:
    """Let PyTorch compute with `threads` CPU threads. Sums depend on it, so bit-equal runs need equal threads."""
    torch.set_num_threads(max(threads, 1))
