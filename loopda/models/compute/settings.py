"""How a stage that trains computes: precision, reproducibility, memory, compiling, patience with what is not finite."""

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
    """The section `compute`, of which a stage may overrule a part: `warmup: {compute: {precision: bf16}}`.

    precision: of all networks in a training step (precision.py); fp16 scales the losses, each group of
    optimisers by its own scale. Statistics of normalisation, evaluation, pseudo-labels and prediction are always fp32.
    reproducibility: see `make_reproducible`. memory: how many blocks compute their activations twice
    instead of keeping them (recomputation.py), which changes no result; `least` besides lets LoopDA's
    loops run one after the other, which changes how sums are rounded.
    compiled: the networks of a training step, by torch.compile (compilation.py).
    skipped_steps: so many in a row may have a loss or a gradient that is not finite (loopda/training/guard.py).
    """

    precision: Precision
    reproducibility: Reproducibility
    memory: Memory
    compiled: bool
    skipped_steps: Annotated[int, Field(ge=1, le=20)]


def make_reproducible(mode: Reproducibility) -> None:
    """Tell PyTorch how far equal runs must be equal; before a GPU is first used.

    exact: deterministic algorithms alone, and no TF32; some networks have none on a GPU, which then stops the stage.
    seeded: seeds alone; on a CPU equal runs are equal bit for bit all the same, on a GPU convolutions may use TF32.
    fast: on a GPU the fastest kernels, chosen by trying, and TF32 for all products; no value is looked at in a step.
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
    """Of what the bits of a result depend on besides its configuration: PyTorch's version, and the kind of device."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = f"{platform.machine()} CPU, {torch.backends.cpu.get_cpu_capability()}"
    return {"torch": str(torch.__version__), "device": name}
