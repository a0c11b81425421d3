"""The fusion of predictions and labels before semantic rendering (LoopDA, section 3.1.1)."""

import torch
from torch import Tensor
from torch.nn import functional

from loopda.labels.classes import IGNORE
from loopda.labels.grid import nearest


def fuse(*, probabilities: Tensor, labels: Tensor, alpha: float, aligned: bool) -> Tensor:
    """alpha * p + (1 - alpha) * onehot(y) on labelled pixels, p on the others; without gradient.

    probabilities (N, K, h, w); labels (N, H, W), 255 = not labelled. The label of a cell is that of the pixel in which
    the cell lies. aligned: where the network's cells lie (Outputs.aligned), so that p and y describe the same place.
    The paper says "linear combination (details in Supplementary)"; the supplementary is not public, so alpha is ours.
    """
    p = probabilities.detach()
    there = nearest(labels, p.shape[2:], aligned=aligned).long()
    valid = (there != IGNORE)[:, None]
    onehot = functional.one_hot(there.where(there != IGNORE, torch.zeros_like(there)), p.shape[1])
    onehot = onehot.permute(0, 3, 1, 2).to(p.dtype)
    return torch.where(valid, alpha * p + (1 - alpha) * onehot, p)
