"""L1 losses of images and of features."""

from torch import Tensor
from torch.nn import functional

from loopda.runtime.distributed import mean


def reconstruction(*, output: Tensor, image: Tensor) -> Tensor:
    """Mean absolute difference of a generated image and its target, in [0, 2].

    output, image (N, 3, H, W) in [-1, 1]. LoopDA, equations 2 and 6: ||Dec(z, p) - x||_1; ours: the mean, not the sum.
    CyCADA, equation 3, one of the two terms: ||G'(G(x)) - x||_1. CycleGAN's identity loss: ||G(x) - x||_1 for an x that
    is of G's target domain already.
    """
    return _mean_difference(output, image)


def feature_consistency(*, translated: Tensor, original: Tensor) -> Tensor:
    """Mean absolute difference of the features of a translated image and of its original, in [0, inf).

    translated, original (N, C, h, w). LoopDA, equation 4, first term: ||z_d2n - z_d||_1. The original's features get no
    gradient, as in the lineage's training code; the paper does not say.
    """
    return _mean_difference(translated, original.detach())


def _mean_difference(output: Tensor, target: Tensor) -> Tensor:
    return mean(functional.l1_loss(output, target, reduction="sum"), output.numel())
