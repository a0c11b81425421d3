"""The updates of a training: losses are scaled in fp16, and steps that are not finite are skipped."""

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
from loopda.training.optimizer import Backward, parameters_of

HALVINGS = 16  # from fp16's first scale, 65536, to 1: that many skipped steps may be the search for a scale


class Guard:
    """Updates that keep every weight finite.

    parts: those of the training, whose optimisers must be fused. An update whose loss or gradient is not finite changes
    no weight. Whether it was finite stays on the device until `check`, so that the host need not wait for the device;
    it waits in each step where the guard is `synchronous`. The forward pass of a skipped step may leave values that are
    not finite in running statistics and other buffers: `check` replaces them by those of the last finite step.
    """

    def __init__(self, parts: Mapping[str, Any], compute: Compute, device: torch.device):
        self.optimizers = {name: part for name, part in parts.items() if isinstance(part, Optimizer)}
        buffers = [value for part in parts.values() if isinstance(part, nn.Module) for value in part.buffers()]
        self.buffers = [value for value in buffers if value.is_floating_point()]
        self.device, self.scaled = device, compute.precision == "fp16"
        self.patience = compute.skipped_steps + (HALVINGS if self.scaled else 0)
        self.synchronous = device.type == "cpu" or compute.reproducibility == "exact"
        self.scalers: dict[str, torch.amp.GradScaler] = {}
        self.skipped = 0  # steps, in all
        self.skipped_in_a_row = 0
        self.gone_back = False
        self._finite: list[Tensor] = []  # of the updates of the step in progress
        self._save_buffers()

    @property
    def exhausted(self) -> bool:
        """Whether `patience` steps in a row were skipped."""
        return self.skipped_in_a_row >= self.patience

    @contextmanager
    def descent(self, *optimizers: Optimizer) -> Iterator[Backward]:
        """As `loopda.training.optimizer.descent`; no step where a loss or the gradient is not finite."""
        scaler, losses = self._scaler(optimizers), []
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)

        def backward(loss: Tensor) -> None:
            losses.append(loss.detach())
            scaler.scale(loss).backward()

        yield backward
        distributed.add_gradients(parameters_of(optimizers))  # so that all processes see the same losses and gradient
        for optimizer in optimizers:
            scaler.unscale_(optimizer)
        norm = self._norm([value.grad for value in parameters_of(optimizers) if value.grad is not None])
        finite = torch.stack([*losses, norm.to(losses[0])]).isfinite().all()
        self._step(optimizers, finite)
        scaler.update()
        self._finite.append(finite)

    def descend(self, loss: Tensor, *optimizers: Optimizer) -> None:
        """One step of each optimiser along the gradient of `loss`; no step where either is not finite."""
        with self.descent(*optimizers) as backward:
            backward(loss)

    def all_finite(self) -> Tensor:
        """Whether all updates since the last call were finite: a bool on the device."""
        finite, self._finite = self._finite, []
        return torch.stack(finite).all() if finite else torch.ones((), dtype=torch.bool, device=self.device)

    def check(self, steps: Sequence[Tensor]) -> list[bool]:
        """Bring the results of `all_finite` of consecutive steps to the host, and count the skipped steps."""
        results = torch.stack(list(steps)).tolist()
        for finite in results:
            self.skipped += not finite
            self.skipped_in_a_row = 0 if finite else self.skipped_in_a_row + 1
        if all(results):
            self._save_buffers()
        else:
            self._restore_buffers()
        return results

    def state_dict(self) -> dict[str, Any]:
        """The counts and scales, for a resumed training."""
        scalers = {name: scaler.state_dict() for name, scaler in self.scalers.items()}
        counts = {"skipped": self.skipped, "skipped_in_a_row": self.skipped_in_a_row, "gone_back": self.gone_back}
        return {**counts, "scalers": scalers}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the counts and scales of `state`, and with the buffers as they are now."""
        self.skipped, self.skipped_in_a_row = state["skipped"], state["skipped_in_a_row"]
        self.gone_back = state["gone_back"]
        for name, scaler in state["scalers"].items():
            self._scaler_of(name).load_state_dict(scaler)
        self._save_buffers()

    def _scaler(self, optimizers: Iterable[Optimizer]) -> torch.amp.GradScaler:
        """The scaler of optimisers that step together, by their names."""
        names = {id(optimizer): name for name, optimizer in self.optimizers.items()}
        return self._scaler_of("+".join(names[id(optimizer)] for optimizer in optimizers))

    def _scaler_of(self, name: str) -> torch.amp.GradScaler:
        if name not in self.scalers:
            self.scalers[name] = torch.amp.GradScaler(self.device.type, enabled=self.scaled)
        return self.scalers[name]

    def _norm(self, gradients: Sequence[Tensor]) -> Tensor:
        """A norm of the gradients that is finite exactly where all of them are."""
        if self.synchronous:  # the 2-norm: five times as fast on a CPU, but squares of large gradients may overflow
            norm = get_total_norm(gradients)
            if norm.isfinite():
                return norm
        return get_total_norm(gradients, norm_type=math.inf)

    def _step(self, optimizers: Sequence[Optimizer], finite: Tensor) -> None:
        # wait for the first step: where it is skipped, a fused SGD would leave its new momentum buffers unfilled
        if self.synchronous or not all(optimizer.state for optimizer in optimizers):
            if finite:
                for optimizer in optimizers:
                    optimizer.step()
            return
        for optimizer in optimizers:
            optimizer.found_inf = (~finite).float()  # a fused optimiser reads it on the device
            optimizer.step()
            del optimizer.found_inf

    @torch.no_grad()
    def _save_buffers(self) -> None:
        self._saved_buffers = [value.clone() for value in self.buffers]

    @torch.no_grad()
    def _restore_buffers(self) -> None:
        for value, saved in zip(self.buffers, self._saved_buffers, strict=True):
            value.copy_(torch.where(value.isfinite(), value, saved))
