"""Distances of feature maps: of an image and its translation, and of two networks."""

import torch
from torch import Tensor
from torch.nn import functional

from loopda.runtime.distributed import mean


def feature_consistency(*, translated: Tensor, original: Tensor) -> Tensor:
    """Mean absolute difference of the features of a translated image and of its original, in [0, inf).

    translated, original (N, C, h, w). LoopDA, equation 4, first term: ||z_d2n - z_d||_1. The original's features get no
    gradient, as in TridentAdapt's code; the paper does not say.
    """
    return mean(functional.l1_loss(translated, original.detach(), reduction="sum"), translated.numel())


def feature_distance(*, features: Tensor, target: Tensor, where: Tensor | None = None) -> Tensor:
    """Mean over positions of the Euclidean distance of two feature vectors, in [0, inf)  (ROAD, equation 1).

    features, target (N, C, h, w), the target without gradient. where (N, h, w) bool: the positions that count, by
    default all; DAFormer's feature distance counts those of thing classes. Without any position the result is 0 and
    still carries a graph.
    """
    distances = torch.linalg.vector_norm(features.float() - target.detach().float(), dim=1)
    if where is None:
        return mean(distances.sum(), distances.numel())
    return mean((distances * where).sum(), where.sum())
