"""ClassMix (Olsson et al., WACV 2021): the pixels of half of the classes of one image, pasted onto another image.

Label maps are integer tensors (N, H, W) of class indices, 255 = not labelled; nothing here carries a gradient.
"""

import torch
from torch import Tensor

VALUES = 256  # of a label map


def class_mask(labels: Tensor, *, scores: Tensor) -> Tensor:
    """(N, H, W) bool: the pixels of ceil(n / 2) of the n values in each label map; 255 counts as a value.

    scores (N, 256) in [0, 1): random numbers; the values with the largest scores are taken.
    """
    flat = labels.flatten(1).long()
    present = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, flat, True)
    order = torch.where(present, scores, -1.0).argsort(dim=1, descending=True)
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(VALUES, device=labels.device).expand_as(order))
    taken = present & (rank < (present.sum(dim=1, keepdim=True) + 1) // 2)
    return taken.gather(1, flat).view(labels.shape)


def paste(mask: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """`source` where `mask` (N, H, W), else `target`: both images (N, C, H, W), or both maps (N, H, W)."""
    return torch.where(mask[:, None] if source.ndim == 4 else mask, source, target)
