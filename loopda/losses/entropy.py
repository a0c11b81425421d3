"""Entropy losses on class probabilities (ADVENT, Vu et al., CVPR 2019)."""

import math

from torch import Tensor

from loopda.runtime.distributed import mean

TINY = 1e-30  # inside the logarithm, as in the authors' code


def self_information(*, probabilities: Tensor) -> Tensor:
    """The weighted self-information I = -p log p / log K, the input of AdvEnt's discriminator  (ADVENT).

    (N, K, H, W) -> (N, K, H, W), in [0, 1]; the sum over the classes of a pixel is at most 1. For one class it is 0.
    """
    p = probabilities.float()
    return -p * (p + TINY).log() / math.log(max(p.shape[1], 2))


def entropy(*, probabilities: Tensor) -> Tensor:
    """Mean over pixels of the normalised Shannon entropy, in [0, 1]  (ADVENT's MinEnt).

    probabilities (N, K, H, W). The paper sums over pixels, its code takes the mean, and its weights are made for that.
    Without any pixel the result is 0 and still carries a graph.
    """
    pixels = self_information(probabilities=probabilities).sum(dim=1)
    return mean(pixels.sum(), pixels.numel())


def class_ratio(*, probabilities: Tensor, prior: Tensor, relax: float) -> Tensor:
    """sum_k max(0, relax * prior_k - mean p_k): classes should not become rarer than on the source  (ADVENT).

    probabilities (N, K, H, W) of the target, averaged over the pixels of the batch; prior (K,): the class frequencies
    of the source, which sum to 1; relax: mu in [0, 1]. In [0, 1].
    """
    p = probabilities.float()
    frequency = mean(p.sum(dim=(0, 2, 3)), p[:, 0].numel())
    return (relax * prior - frequency).clamp(min=0).sum()
