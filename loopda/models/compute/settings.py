"""The section `compute`: precision, reproducibility, memory and compilation of a training."""

import os
import platform
from typing import Annotated, Literal

import torch
from pydantic import Field

from loopda.config import Section
from loopda.models.compute.precision import Precision
from loopda.models.compute.recomputation import Memory

Reproducibility = Literal["exact", "seeded", "fast"]


class Compute(Section):
    """The section `compute`. A stage may overrule a part of it: `warmup: {compute: {precision: bf16}}`.

    precision: of all networks in a training step (precision.py); fp16 scales the losses, by one scale for each group of
    optimisers. Statistics of normalisation, evaluation, pseudo-labels and prediction are always fp32.
    reproducibility: see `make_reproducible`. memory: how many blocks compute their activations twice instead of keeping
    them (recomputation.py), which changes no result; `least` also runs LoopDA's loops one after the other, which
    changes how sums are rounded. compiled: whether torch.compile compiles the networks of a step (compilation.py).
    skipped_steps: how many steps in a row may have a loss or a gradient that is not finite (loopda/training/guard.py).
    """

    precision: Precision
    reproducibility: Reproducibility
    memory: Memory
    compiled: bool
    skipped_steps: Annotated[int, Field(ge=1, le=20)]


def make_reproducible(mode: Reproducibility) -> None:
    """Set PyTorch's options for reproducible runs; call it before a GPU is first used.

    exact: deterministic algorithms alone, and no TF32; where an operation has none on the GPU, the stage stops.
    seeded: seeds alone. On a CPU repeated runs are equal bit for bit all the same; on a GPU convolutions may use TF32.
    fast: on a GPU the fastest kernels, chosen by trial (cudnn.benchmark), and TF32 for all products;
    no step waits for the GPU to check a value.
    """
    exact, fast = mode == "exact", mode == "fast"
    if exact:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    torch.use_deterministic_algorithms(exact)
    torch.backends.cudnn.deterministic = exact
    torch.backends.cudnn.benchmark = fast
    torch.backends.cudnn.allow_tf32 = not exact
    torch.backends.cuda.matmul.allow_tf32 = fast


def environment(device: torch.device) -> dict[str, str]:
    """What the bits of a result depend on besides its configuration: PyTorch's version, and the kind of device."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = f"{platform.machine()} CPU, {torch.backends.cpu.get_cpu_capability()}"
    return {"torch": str(torch.__version__), "device": name}
