"""Normalisation and dropout of a batch that holds several domains and may be shared among several processes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional

from loopda.runtime import distributed


class Domains(nn.Module):
    """A part of a network that knows, inside `domains_of`, which samples of a batch belong to which domain.

    domains: the number of samples of each domain in this process. shares: the same numbers of every process.
    """

    domains: tuple[int, ...] = ()
    shares: tuple[tuple[int, ...], ...] = ()

    def complete_domains(self, count: int) -> int:
        """The number of domains among the first `count` samples; a head may get the first samples alone."""
        return sum(end <= count for end in accumulate(self.domains))

    def drawn(self, draw: Callable[[int], Tensor], count: int) -> Tensor:
        """The rows of `draw` (see `distributed.draw_share`) for the first `count` samples."""
        number = self.complete_domains(count)
        shares = [share[:number] for share in self.shares] if self.domains else None
        return distributed.draw_share(draw, count, shares)


class _Synchronised(Domains):
    """Base of BatchNorm1d and BatchNorm2d.

    counted: the running statistics have seen the samples already, and stay as they are (recomputation.py).
    """

    counted = False

    def forward(self, x: Tensor) -> Tensor:
        sizes = list(self.domains[: self.complete_domains(len(x))]) or [len(x)]
        by_batch = self.training or self.running_mean is None
        if by_batch and distributed.count() > 1:
            return self._over_all_processes(x, sizes)
        normalised = self._counted_before if self.counted and self.training else super().forward
        return normalised(x) if len(sizes) < 2 else torch.cat([normalised(part) for part in x.split(sizes)])

    def _counted_before(self, x: Tensor) -> Tensor:
        mean, variance = self.running_mean.clone(), self.running_var.clone()  # as many tensors as in the first pass
        return functional.batch_norm(x, mean, variance, self.weight, self.bias, training=True, eps=self.eps)

    def _over_all_processes(self, x: Tensor, sizes: Sequence[int]) -> Tensor:
        """Normalise each domain by its mean and variance over all processes, from pooled (count, mean, sum of squares).

        Chan et al., "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
        """
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        own = torch.stack([_statistics(part) for part in wide.split(sizes)])
        means, squares, counts = distributed.gather(own).split([x.shape[1], x.shape[1], 1], dim=2)
        count = counts.sum(dim=0)
        mean = (counts * means).sum(dim=0) / count
        squares = (squares + counts * (means - mean).square()).sum(dim=0)
        if self.training and self.running_mean is not None and not self.counted:
            self._update_running_statistics(mean.detach(), (squares / (count - 1).clamp(min=1)).detach())
        scale = (squares / count + self.eps).rsqrt() * self.weight
        shift = self.bias - mean * scale
        scale, shift = (_for_each_sample(values, sizes, x) for values in (scale, shift))
        return (wide * scale + shift).to(x.dtype)

    @torch.no_grad()
    def _update_running_statistics(self, means: Tensor, variances: Tensor) -> None:
        """Update the running statistics with one domain after the other, as one call for each would."""
        for mean, variance in zip(means, variances, strict=True):
            self.num_batches_tracked += 1
            weight = self.momentum if self.momentum is not None else 1 / self.num_batches_tracked
            self.running_mean.lerp_(mean.to(self.running_mean), weight)
            self.running_var.lerp_(variance.to(self.running_var), weight)


class BatchNorm2d(_Synchronised, nn.BatchNorm2d):
    """PyTorch's batch normalisation, which inside `domains_of` normalises each domain by its own statistics.

    The output, the gradients and the running statistics are then those of one call for each domain, in their order; a
    head that gets only the first images normalises those. Where several processes share a batch, they are those of the
    whole batch, to rounding. PyTorch's SyncBatchNorm supports neither domains nor CPUs.
    """


class BatchNorm1d(_Synchronised, nn.BatchNorm1d):
    """As BatchNorm2d, for vectors (N, C)."""


class InstanceNorm2d(nn.GroupNorm):
    """Instance normalisation without parameters: each channel of each image by its own mean and variance.

    Like batch normalisation it returns the precision of its input, where autocast on a GPU would return fp32. Its
    statistics are always fp32. It replaces PyTorch's (2.15), whose gradient on CPUs is wrong for a single image in the
    layout channels_last.
    """

    def __init__(self, channels: int):
        super().__init__(channels, channels, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype not in (torch.bfloat16, torch.float16):
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x)


class Dropout2d(Domains, nn.Dropout2d):
    """PyTorch's dropout of channels, which drops the same ones for every number of processes."""

    def forward(self, x: Tensor) -> Tensor:
        if distributed.count() == 1 or not (self.training and self.p):
            return super().forward(x)

        def draw(count: int) -> Tensor:
            return functional.dropout2d(x.new_ones(count, x.shape[1], 1, 1), self.p)

        return x * self.drawn(draw, len(x))


class DropPath(Domains):
    """Stochastic depth (Huang et al., ECCV 2016): in training a residual branch is left out for some samples, with
    probability `rate`, and scaled by 1 / (1 - rate) for the others."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and self.rate):
            return x

        def draw(count: int) -> Tensor:
            return torch.rand(count, *[1] * (x.ndim - 1), device=x.device)

        return x * (self.drawn(draw, len(x)) >= self.rate) / (1 - self.rate)


@contextmanager
def domains_of(network: nn.Module, sizes: Sequence[int]) -> Iterator[None]:
    """In this block the first sizes[0] samples of a batch of `network` are of one domain, the next sizes[1] of the
    second, and so on. Of several processes, some may have 0 samples of a domain."""
    with domains_and_shares(network, tuple(sizes), tuple(map(tuple, distributed.gather_integers(sizes)))):
        yield


@contextmanager
def domains_and_shares(
    network: nn.Module, domains: tuple[int, ...], shares: tuple[tuple[int, ...], ...]
) -> Iterator[None]:
    """As `domains_of`, for known `shares` of every process."""
    parts = [part for part in network.modules() if isinstance(part, Domains)]
    for part in parts:
        part.domains, part.shares = domains, shares
    try:
        yield
    finally:
        for part in parts:
            part.domains, part.shares = (), ()


def _for_each_sample(values: Tensor, sizes: Sequence[int], like: Tensor) -> Tensor:
    """The values (D, C) of each domain, repeated for each of its samples: (N, C, 1, ...), as many axes as `like`."""
    repeated = [value.expand(size, -1) for value, size in zip(values, sizes, strict=True)]
    return torch.cat(repeated).view(*like.shape[:2], *[1] * (like.ndim - 2))


def _statistics(x: Tensor) -> Tensor:
    """(2C + 1,): of each channel of x (N, C, ...) the mean, then the sum of squared deviations; then their count."""
    count, over = x.numel() // x.shape[1], [0, *range(2, x.ndim)]
    variance, mean = torch.var_mean(x, dim=over, correction=0) if count else [x.sum(dim=over)] * 2
    return torch.cat([mean, count * variance, mean.new_full((1,), count)])
