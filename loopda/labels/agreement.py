"""The online label of self-training: label overlap ratio (LOR) and Day-Night Agreement (DNA), LoopDA section 3.2.

Label maps are integer tensors (N, h, w) of class indices, 255 = no label; nothing here carries a gradient.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from loopda.config import Fraction, Section
from loopda.labels.classes import IGNORE


class Agreement(Section):
    """The section `agreement`. tau: the label overlap ratio from which a pair takes the static label."""

    tau: Fraction


class OnlineLabel(NamedTuple):
    """label (N, h, w) supervises p_n; lor (N,) in [0, 1]; static (N,) bool: which pairs took the static label."""

    label: Tensor
    lor: Tensor
    static: Tensor


def membership(labels: Tensor, classes: Iterable[int]) -> Tensor:
    """Whether each pixel's class is one of `classes`: a bool tensor of the shape of `labels`; never for 255."""
    return _table(frozenset(classes), labels.device)[labels.long()]


@lru_cache
def _table(classes: frozenset[int], device: torch.device) -> Tensor:
    return torch.tensor([number in classes for number in range(256)], device=device)


def label_overlap_ratio(*, night: Tensor, reference: Tensor, ssc: Iterable[int]) -> Tensor:
    """LOR of each pair, (N,) in [0, 1]: 2 |A and B| / (|A| + |B|)  (equation 9).

    A and B are the pixels that the night and the reference prediction assign to any shift-sensitive class. A pair
    without such pixels has LOR 0: by the paper's section on limitations, its static label is then dismissed.
    """
    ssc = frozenset(ssc)
    a, b = membership(night, ssc).flatten(1), membership(reference, ssc).flatten(1)
    return _ratio((a & b).sum(dim=1), a.sum(dim=1) + b.sum(dim=1))


def all_overlap_ratios(*, night: Tensor, day: Tensor, groups: Iterable[Iterable[int]]) -> Tensor:
    """LOR of every night map (N, h, w) with every day map (M, h, w), (N, M) in [0, 1]: the mean of the LOR of each of
    `groups` of classes.

    With the shift-sensitive classes as the one group it is `label_overlap_ratio` of all pairs, bit for bit. One matrix
    product a group: O(N M h w) operations, O((N + M) h w) memory. The counts are exact below 2^24 pixels a map.
    """
    ratios = []
    for group in map(frozenset, groups):
        a, b = (membership(labels, group).flatten(1).float() for labels in (night, day))
        ratios.append(_ratio(a @ b.T, a.sum(dim=1)[:, None] + b.sum(dim=1)))
    return sum(ratios) / len(ratios)  # in the order of the groups: a mean over a stack rounds by the shape of the stack


def _ratio(both: Tensor, total: Tensor) -> Tensor:
    """2 |A and B| / (|A| + |B|), and 0 where A and B are empty."""
    return 2 * both / total.clamp(min=1)


def static_label(*, night: Tensor, reference: Tensor, dynamic: Iterable[int]) -> Tensor:
    """The reference's prediction wherever both predictions are static classes, else 255."""
    dynamic = frozenset(dynamic)
    kept = ~(membership(night, dynamic) | membership(reference, dynamic))
    kept &= (night != IGNORE) & (reference != IGNORE)
    return torch.where(kept, reference, IGNORE)


def day_night_agreement(*, night: Tensor, static: Tensor) -> Tensor:
    """DNA: the static label where the night prediction agrees with it, else 255."""
    return torch.where(static == night, static, IGNORE)


def online_label(
    *, night: Tensor, reference: Tensor, dynamic: Iterable[int], ssc: Iterable[int], tau: float
) -> OnlineLabel:
    """The static label for each pair whose LOR is at least `tau`, the agreement for the others (after equation 9).

    With tau = 0, every pair takes the static label: the row without DNA in Table 3.
    """
    static = static_label(night=night, reference=reference, dynamic=dynamic)
    agreement = day_night_agreement(night=night, static=static)
    lor = label_overlap_ratio(night=night, reference=reference, ssc=ssc)
    chosen = lor >= tau
    return OnlineLabel(torch.where(chosen[:, None, None], static, agreement), lor, chosen)


def keep_classes(labels: Tensor, classes: Iterable[int]) -> Tensor:
    """`labels` where the class is one of `classes`, else 255: the offline label keeps dynamic classes and SSC."""
    return torch.where(membership(labels, classes), labels, IGNORE)
