"""Activation checkpointing: blocks whose activations are computed again in the backward pass instead of being kept."""

from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from loopda.models.compute.normalisation import Domains, domains_and_shares

Memory = Literal["fast", "balanced", "small", "least"]


class Recomputed(nn.Module):
    """Base of a block that maps (N, C, h, w), or (N, h, w, C) in a transformer, to the same shape.

    While `again` is set, only its input is kept for the backward pass, in which its activations are computed again. The
    gradients, the draws of dropout and the running statistics equal, bit for bit, those of a block that keeps all.
    """

    again = False

    def __call__(self, x: Tensor) -> Tensor:
        if not (self.again and torch.is_grad_enabled()):
            return super().__call__(x)
        return checkpoint(super().__call__, x, use_reentrant=False, context_fn=partial(_contexts, self))


def recompute(network: nn.Module, memory: Memory) -> None:
    """Set the blocks of `network` that compute again: none (memory fast), every second (balanced), or all (others)."""
    blocks = [part for part in network.modules() if isinstance(part, Recomputed)]
    for number, block in enumerate(blocks):
        block.again = memory in ("small", "least") or (memory == "balanced" and number % 2 == 0)


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """The contexts of the first pass and of the second, which gets the domains of the first."""
    parts = [part for part in block.modules() if isinstance(part, Domains)]
    domains, shares = (parts[0].domains, parts[0].shares) if parts else ((), ())
    return nullcontext(), _SecondPass(block, domains, shares)


class _SecondPass(ExitStack):
    """The context of the second pass. It may be entered again: heads_apart.py has two backward passes."""

    def __init__(self, block: nn.Module, domains: tuple[int, ...], shares: tuple[tuple[int, ...], ...]):
        super().__init__()
        self.domains = partial(domains_and_shares, block, domains, shares)
        self.normalisations = [part for part in block.modules() if hasattr(part, "counted")]

    def __enter__(self) -> "_SecondPass":
        self.enter_context(self.domains())
        self.callback(self._set_counted, False)
        self._set_counted(True)
        return self

    def _set_counted(self, counted: bool) -> None:
        for part in self.normalisations:
            part.counted = counted
