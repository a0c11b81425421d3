"""Batch normalisation of several domains in one batch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional


class BatchNorm2d(nn.BatchNorm2d):
    """PyTorch's, which inside `domains_of` normalises the images of each domain by themselves.

    The output, the gradients and the running statistics are then those of one call for each domain, in their order.
    A head that is shown only the first images normalises those. While `counted` is set, the running statistics have
    seen the images already and stay as they are (loopda/models/recomputation.py).
    """

    domains: tuple[int, ...] = ()
    counted = False

    def forward(self, x: Tensor) -> Tensor:
        if len(self.domains) < 2:
            return self._normalised(x)
        sizes = [size for size, end in zip(self.domains, accumulate(self.domains), strict=True) if end <= len(x)]
        return torch.cat([self._normalised(part) for part in x.split(sizes)])

    def _normalised(self, x: Tensor) -> Tensor:
        if not (self.counted and self.training):
            return super().forward(x)
        mean, variance = self.running_mean.clone(), self.running_var.clone()
        return functional.batch_norm(x, mean, variance, self.weight, self.bias, training=True, eps=self.eps)


@contextmanager
def domains_of(network: nn.Module, sizes: Sequence[int]) -> Iterator[None]:
    """In this block the images of a batch of `network` belong to domains: the first sizes[0] to one, and so on."""
    parts = [part for part in network.modules() if isinstance(part, BatchNorm2d)]
    for part in parts:
        part.domains = tuple(sizes)
    try:
        yield
    finally:
        for part in parts:
            part.domains = ()
