"""What keeps a training finite: losses scaled in fp16, steps that are skipped, and the end of patience."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from loopda.models.compute.settings import Compute
from loopda.runtime import distributed
from loopda.training.optimizer import Learn

HALVINGS = 16  # from fp16's first scale, 65536, to 1: so many skipped steps are its own search


class Guard:
    """The updates of a training, none of which makes a weight infinite.

    parts: of the training; optimisers must be fused. A loss or a gradient that is not finite changes no weight. The
    verdicts stay on the device until `judge` asks for them; only where it is `prompt`, after each step, does the
    host wait for the device. What the forward pass of a skipped step left in running statistics and other buffers is
    replaced by what was there when a step was last judged finite.
    """

    def __init__(self, parts: Mapping[str, Any], compute: Compute, device: torch.device):
        self.optimizers = {name: part for name, part in parts.items() if isinstance(part, Optimizer)}
        buffers = [value for part in parts.values() if isinstance(part, nn.Module) for value in part.buffers()]
        self.buffers = [value for value in buffers if value.is_floating_point()]
        self.device, self.scaled = device, compute.precision == "fp16"
        self.patience = compute.skipped_steps + (HALVINGS if self.scaled else 0)
        self.prompt = device.type == "cpu" or compute.reproducibility == "exact"
        self.scalers: dict[str, torch.amp.GradScaler] = {}
        self.skipped = 0  # steps, in all
        self.in_a_row = 0
        self.gone_back = False
        self._verdicts: list[Tensor] = []  # of the updates of the step in progress
        self._keep()

    @property
    def exhausted(self) -> bool:
        """Whether as many steps in a row were skipped as may be."""
        return self.in_a_row >= self.patience

    @contextmanager
    def descent(self, *optimizers: Optimizer) -> Iterator[Learn]:
        """As `loopda.training.optimizer.descent`; no step where a loss or the gradient is not finite."""
        scaler, losses = self._scaler(optimizers), []
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)

        def learn(loss: Tensor) -> None:
            losses.append(loss.detach())
            scaler.scale(loss).backward()

        yield learn
        distributed.add_gradients(_parameters(optimizers))  # so that all processes see the same losses and gradient
        for optimizer in optimizers:
            scaler.unscale_(optimizer)
        steepest = self._steepness(_gradients(optimizers))
        finite = torch.stack([*losses, steepest.to(losses[0])]).isfinite().all()
        self._step(optimizers, finite)
        scaler.update()
        self._verdicts.append(finite)

    def descend(self, loss: Tensor, *optimizers: Optimizer) -> None:
        """One step of each optimiser along the gradient of `loss`; none where one of the two is not finite."""
        with self.descent(*optimizers) as learn:
            learn(loss)

    def verdict(self) -> Tensor:
        """Whether all updates since the last call were finite: a truth value on the device."""
        verdicts, self._verdicts = self._verdicts, []
        return torch.stack(verdicts).all() if verdicts else torch.ones((), dtype=torch.bool, device=self.device)

    def judge(self, verdicts: Sequence[Tensor]) -> list[bool]:
        """The verdicts of steps one after the other, known to the host, and counted."""
        finite = torch.stack(list(verdicts)).tolist()
        for one in finite:
            self.skipped += not one
            self.in_a_row = 0 if one else self.in_a_row + 1
        if all(finite):
            self._keep()
        else:
            self._mend()
        return finite

    def state_dict(self) -> dict[str, Any]:
        """The counts and scales that a resumed training goes on with."""
        scalers = {name: scaler.state_dict() for name, scaler in self.scalers.items()}
        counts = {"skipped": self.skipped, "in_a_row": self.in_a_row, "gone_back": self.gone_back}
        return {**counts, "scalers": scalers}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the counts and scales of `state`, and with the buffers as they are now."""
        self.skipped, self.in_a_row, self.gone_back = state["skipped"], state["in_a_row"], state["gone_back"]
        for name, its in state["scalers"].items():
            self._scaler_of(name).load_state_dict(its)
        self._keep()

    def _scaler(self, optimizers: Iterable[Optimizer]) -> torch.amp.GradScaler:
        """That of the optimisers that step together, by their names."""
        names = {id(optimizer): name for name, optimizer in self.optimizers.items()}
        return self._scaler_of("+".join(names[id(optimizer)] for optimizer in optimizers))

    def _scaler_of(self, name: str) -> torch.amp.GradScaler:
        if name not in self.scalers:
            self.scalers[name] = torch.amp.GradScaler(self.device.type, enabled=self.scaled)
        return self.scalers[name]

    def _steepness(self, gradients: Sequence[Tensor]) -> Tensor:
        """A number that is finite where all gradients are."""
        if self.prompt:  # on a CPU five times as fast, but the squares of large gradients are not finite
            norm = get_total_norm(gradients)
            if norm.isfinite():
                return norm
        return get_total_norm(gradients, norm_type=math.inf)

    def _step(self, optimizers: Sequence[Optimizer], finite: Tensor) -> None:
        # the first step of a fused SGD would not fill the momentum that it makes, so that one is waited for
        if self.prompt or not all(optimizer.state for optimizer in optimizers):
            if finite:
                for optimizer in optimizers:
                    optimizer.step()
            return
        for optimizer in optimizers:
            optimizer.found_inf = (~finite).float()  # what a fused optimiser looks at on the device
            optimizer.step()
            del optimizer.found_inf

    @torch.no_grad()
    def _keep(self) -> None:
        self._kept = [value.clone() for value in self.buffers]

    @torch.no_grad()
    def _mend(self) -> None:
        for value, kept in zip(self.buffers, self._kept, strict=True):
            value.copy_(torch.where(value.isfinite(), value, kept))


def _parameters(optimizers: Iterable[Optimizer]) -> list[Tensor]:
    return [value for optimizer in optimizers for group in optimizer.param_groups for value in group["params"]]


def _gradients(optimizers: Iterable[Optimizer]) -> list[Tensor]:
    return [value.grad for value in _parameters(optimizers) if value.grad is not None]
