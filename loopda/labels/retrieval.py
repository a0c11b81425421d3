"""Image retrieval by label overlap: the day label maps that agree best with each night map (LoopDA, section 4.4)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from loopda.labels.agreement import all_overlap_ratios


class Ranking(NamedTuple):
    """day (N, k): indices of the best day maps for each night map, best first. lor (N, k): their ratios, in [0, 1]."""

    day: Tensor
    lor: Tensor


def rank(*, night: Tensor, day: Tensor, groups: Sequence[frozenset[int]], best: int, block: int = 256) -> Ranking:
    """The `best` day maps (M, h, w) for each night map (N, h, w); all M where there are fewer.

    The ratio of a pair is `all_overlap_ratios` over `groups` of classes. Of two equal ratios, the day map with the
    smaller index comes first. `block` bounds the memory: at most `block` x `block` pairs are compared at a time. It
    does not change the result. O(N M h w) operations per group.
    """
    days, ratios = [], []
    for some in night.split(block):
        indices = torch.empty(len(some), 0, dtype=torch.long, device=night.device)
        lor = torch.empty(len(some), 0, device=night.device)
        for first in range(0, len(day), block):
            more = all_overlap_ratios(night=some, day=day[first : first + block], groups=groups)
            numbers = torch.arange(first, first + more.shape[1], device=night.device).expand_as(more)
            lor, order = torch.cat([lor, more], dim=1).sort(dim=1, descending=True, stable=True)
            indices = torch.cat([indices, numbers], dim=1).gather(1, order)[:, :best]
            lor = lor[:, :best]
        days.append(indices)
        ratios.append(lor)
    return Ranking(torch.cat(days), torch.cat(ratios))
