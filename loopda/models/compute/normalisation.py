"""Normalisation and dropping of several domains in one batch, of which other processes may hold the other samples."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional

from loopda.runtime import distributed


class Domains(nn.Module):
    """A part of a network that knows which samples of a batch belong together, inside `domains_of`.

    domains: how many samples of this process each domain has; shares: the same of every process.
    """

    domains: tuple[int, ...] = ()
    shares: tuple[tuple[int, ...], ...] = ()

    def shown(self, count: int) -> int:
        """How many domains the first `count` samples are, for a head may be shown the first samples alone."""
        return sum(end <= count for end in accumulate(self.domains))

    def drawn(self, draw: Callable[[int], Tensor], count: int) -> Tensor:
        """The rows of `draw` (see `distributed.draw_share`) for the first `count` samples."""
        shown = self.shown(count)
        return distributed.draw_share(draw, count, [its[:shown] for its in self.shares] if self.domains else None)


class _Synchronised(Domains):
    """What BatchNorm1d and BatchNorm2d below have in common.

    counted: the running statistics have seen the samples already and stay as they are (recomputation.py).
    """

    counted = False

    def forward(self, x: Tensor) -> Tensor:
        sizes = list(self.domains[: self.shown(len(x))]) or [len(x)]
        by_batch = self.training or self.running_mean is None
        if by_batch and distributed.count() > 1:
            return self._over_all_processes(x, sizes)
        normalised = self._counted_before if self.counted and self.training else super().forward
        return normalised(x) if len(sizes) < 2 else torch.cat([normalised(part) for part in x.split(sizes)])

    def _counted_before(self, x: Tensor) -> Tensor:
        mean, variance = self.running_mean.clone(), self.running_var.clone()  # as many tensors as in the first pass
        return functional.batch_norm(x, mean, variance, self.weight, self.bias, training=True, eps=self.eps)

    def _over_all_processes(self, x: Tensor, sizes: Sequence[int]) -> Tensor:
        """Each domain by its mean and variance over all processes: (count, mean, sum of squares) are pooled.

        Chan et al., "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
        """
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        own = torch.stack([_statistics(part) for part in wide.split(sizes)])
        means, squares, counts = distributed.gather(own).split([x.shape[1], x.shape[1], 1], dim=2)
        count = counts.sum(dim=0)
        mean = (counts * means).sum(dim=0) / count
        squares = (squares + counts * (means - mean).square()).sum(dim=0)
        if self.training and self.running_mean is not None and not self.counted:
            self._remember(mean.detach(), (squares / (count - 1).clamp(min=1)).detach())
        scale = (squares / count + self.eps).rsqrt() * self.weight
        shift = self.bias - mean * scale
        scale, shift = (_for_each_sample(values, sizes, x) for values in (scale, shift))
        return (wide * scale + shift).to(x.dtype)

    @torch.no_grad()
    def _remember(self, means: Tensor, variances: Tensor) -> None:
        """Update the running statistics by one domain after the other, as one call for each would."""
        for mean, variance in zip(means, variances, strict=True):
            self.num_batches_tracked += 1
            weight = self.momentum if self.momentum is not None else 1 / self.num_batches_tracked
            self.running_mean.lerp_(mean.to(self.running_mean), weight)
            self.running_var.lerp_(variance.to(self.running_var), weight)


class BatchNorm2d(_Synchronised, nn.BatchNorm2d):
    """PyTorch's, which inside `domains_of` normalises the images of each domain by themselves.

    The output, the gradients and the running statistics are then those of one call for each domain, in their order; a
    head that is shown only the first images normalises those. Of several processes that share a batch, they are those
    of the whole batch, to rounding. PyTorch's SyncBatchNorm knows neither domains nor CPUs.
    """


class BatchNorm1d(_Synchronised, nn.BatchNorm1d):
    """As BatchNorm2d, of vectors (N, C)."""


class InstanceNorm2d(nn.GroupNorm):
    """Each channel of each image by itself, without parameters. Like batch normalisation it answers in the precision
    of its input, of which autocast on a GPU alone would make fp32; its statistics are fp32 in any case.

    In the place of PyTorch's (2.15), whose gradient on CPUs is wrong for a single image in the layout channels_last.
    """

    def __init__(self, channels: int):
        super().__init__(channels, channels, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype not in (torch.bfloat16, torch.float16):
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x)


class Dropout2d(Domains, nn.Dropout2d):
    """PyTorch's, which drops the same channels of the same images whatever the number of processes."""

    def forward(self, x: Tensor) -> Tensor:
        if distributed.count() == 1 or not (self.training and self.p):
            return super().forward(x)

        def draw(count: int) -> Tensor:
            return functional.dropout2d(x.new_ones(count, x.shape[1], 1, 1), self.p)

        return x * self.drawn(draw, len(x))


class DropPath(Domains):
    """Leaves out a residual branch of some samples in training (Huang et al., ECCV 2016); the rest is scaled up."""

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
    """In this block the samples of a batch of `network` belong to domains: the first sizes[0] to one, and so on.

    Of several processes each has samples of every domain, or none of one that others have samples of.
    """
    with domains_and_shares(network, tuple(sizes), tuple(map(tuple, distributed.gather_integers(sizes)))):
        yield


@contextmanager
def domains_and_shares(
    network: nn.Module, domains: tuple[int, ...], shares: tuple[tuple[int, ...], ...]
) -> Iterator[None]:
    """As `domains_of`, where the `shares` of every process are known."""
    parts = [part for part in network.modules() if isinstance(part, Domains)]
    for part in parts:
        part.domains, part.shares = domains, shares
    try:
        yield
    finally:
        for part in parts:
            part.domains, part.shares = (), ()


def _for_each_sample(values: Tensor, sizes: Sequence[int], like: Tensor) -> Tensor:
    """The values (D, C) of each domain for each of its samples, in a shape that fits `like` (N, C, ...)."""
    repeated = [value.expand(size, -1) for value, size in zip(values, sizes, strict=True)]
    return torch.cat(repeated).view(*like.shape[:2], *[1] * (like.ndim - 2))


def _statistics(x: Tensor) -> Tensor:
    """Of each channel of x (N, C, ...) its mean and its sum of squared differences from that, then their number."""
    count, over = x.numel() // x.shape[1], [0, *range(2, x.ndim)]
    variance, mean = torch.var_mean(x, dim=over, correction=0) if count else [x.sum(dim=over)] * 2
    return torch.cat([mean, count * variance, mean.new_full((1,), count)])
