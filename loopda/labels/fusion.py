"""The fusion of predictions and labels before semantic rendering (LoopDA, section 3.1.1)."""

import torch
from torch import Tensor
from torch.nn import functional

from loopda.labels.classes import IGNORE


def fuse(*, probabilities: Tensor, labels: Tensor, alpha: float) -> Tensor:
    """alpha * p + (1 - alpha) * onehot(y) on labelled pixels, p on the others; without gradient.

    probabilities (N, K, h, w); labels (N, H, W), 255 = not labelled: the label nearest to each cell's centre is taken.
    The paper says "linear combination (details in Supplementary)"; the supplementary is not public, so alpha is ours.
    """
    p = probabilities.detach()
    nearest = functional.interpolate(labels[:, None].float(), size=p.shape[2:], mode="nearest-exact")[:, 0].long()
    valid = (nearest != IGNORE)[:, None]
    onehot = functional.one_hot(nearest.where(nearest != IGNORE, torch.zeros_like(nearest)), p.shape[1])
    onehot = onehot.permute(0, 3, 1, 2).to(p.dtype)
    return torch.where(valid, alpha * p + (1 - alpha) * onehot, p)
