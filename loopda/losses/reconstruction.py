"""Losses that compare images or features."""

from torch import Tensor
from torch.nn import functional

from loopda.runtime.distributed import mean


def reconstruction(*, output: Tensor, image: Tensor) -> Tensor:
    """Mean absolute difference of a generated image and the image it should be, in [0, 2].

    LoopDA, equations 2 and 6: ||Dec(z, p) - x||_1, here per value instead of summed. Both in [-1, 1], (N, 3, H, W).
    CyCADA, equation 3, one of the two terms: ||G'(G(x)) - x||_1; CycleGAN's identity: ||G(x') - x'||_1 on G's target.
    """
    return _mean_difference(output, image)


def feature_consistency(*, translated: Tensor, original: Tensor) -> Tensor:
    """Mean absolute difference of the features of a translated image and of its original, in [0, inf).

    LoopDA, equation 4, first term: ||z_d2n - z_d||_1. The original's features are the target and get no gradient, as in
    the lineage's training code; the paper does not say.
    """
    return _mean_difference(translated, original.detach())


def _mean_difference(one: Tensor, other: Tensor) -> Tensor:
    return mean(functional.l1_loss(one, other, reduction="sum"), one.numel())
