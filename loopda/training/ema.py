"""The exponential moving average of a network in training: the teacher of a mean-teacher method."""

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.optim.swa_utils import AveragedModel

from loopda.models.compute.normalisation import DropPath


class Teacher(AveragedModel):
    """theta' <- alpha theta' + (1 - alpha) theta after the t-th step, alpha = min(1 - 1 / (t + 1), decay).

    The first `update_parameters` copies the network; each later one averages. t is part of the state, so that a resumed
    teacher continues exactly. Only parameters are averaged; batch normalisation uses the statistics of the batch, as in
    the student. Dropout and drop path are off.
    """

    def __init__(self, network: nn.Module, decay: float):
        def average(old: list[Tensor], new: list[Tensor], count: Tensor) -> None:
            torch._foreach_lerp_(old, new, max(1 / (int(count) + 1), 1 - decay))

        super().__init__(network, multi_avg_fn=average)
        self.requires_grad_(False).train()

    def train(self, mode: bool = True) -> "Teacher":
        return without_dropping(super().train(mode))


def without_dropping(module: nn.Module) -> nn.Module:
    """`module` with its dropout and drop path switched off, in training mode too."""
    for part in module.modules():
        if isinstance(part, _DropoutNd | DropPath):
            part.eval()
    return module
