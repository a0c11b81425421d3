"""Blocks whose activations are computed again in the backward pass instead of being kept until then."""

from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from loopda.models.compute.normalisation import Domains, domains_and_shares

Memory = Literal["fast", "balanced", "small", "least"]


class Recomputed(nn.Module):
    """Base of a block from (N, C, h, w), or a transformer's (N, h, w, C), to the like.

    While `again` is set, of what it computes its input alone is kept for the backward pass; gradients, what dropout
    draws and running statistics are to the bit those of a block that keeps everything.
    """

    again = False

    def __call__(self, x: Tensor) -> Tensor:
        if not (self.again and torch.is_grad_enabled()):
            return super().__call__(x)
        return checkpoint(super().__call__, x, use_reentrant=False, context_fn=partial(_contexts, self))


def recompute(network: nn.Module, memory: Memory) -> None:
    """Which blocks of `network` compute again: none (memory fast), every second (balanced), or all (small, least)."""
    blocks = [part for part in network.modules() if isinstance(part, Recomputed)]
    for number, block in enumerate(blocks):
        block.again = memory in ("small", "least") or (memory == "balanced" and number % 2 == 0)


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Of the first pass and of the second, for which the domains of the first are remembered."""
    parts = [part for part in block.modules() if isinstance(part, Domains)]
    domains, shares = (parts[0].domains, parts[0].shares) if parts else ((), ())
    return nullcontext(), _SecondPass(block, domains, shares)


class _SecondPass(ExitStack):
    """May be entered again, for a third pass (loopda/models/compute/heads_apart.py goes back twice)."""

    def __init__(self, block: nn.Module, domains: tuple[int, ...], shares: tuple[tuple[int, ...], ...]):
        super().__init__()
        self.domains = partial(domains_and_shares, block, domains, shares)
        self.counting = [part for part in block.modules() if hasattr(part, "counted")]

    def __enter__(self) -> "_SecondPass":
        self.enter_context(self.domains())
        self.callback(self._count, False)
        self._count(True)
        return self

    def _count(self, counted: bool) -> None:
        for part in self.counting:
            part.counted = counted
