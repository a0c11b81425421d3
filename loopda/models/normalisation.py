"""Batch normalisation of several domains in one batch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate

import torch
from torch import Tensor, nn


class BatchNorm2d(nn.BatchNorm2d):
    """PyTorch's, which inside `domains_of` normalises the images of each domain by themselves.

    The output, the gradients and the running statistics are then those of one call for each domain, in their order.
    A head that is shown only the first images normalises those.
    """

    domains: tuple[int, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        normalised = super().forward
        if len(self.domains) < 2:
            return normalised(x)
        sizes = [size for size, end in zip(self.domains, accumulate(self.domains), strict=True) if end <= len(x)]
        return torch.cat([normalised(part) for part in x.split(sizes)])


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
