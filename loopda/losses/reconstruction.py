"""The L1 loss of images."""

from torch import Tensor
from torch.nn import functional

from loopda.runtime.distributed import mean


def reconstruction(*, output: Tensor, image: Tensor) -> Tensor:
    """Mean absolute difference of a generated image and its target, in [0, 2].

    output, image (N, 3, H, W) in [-1, 1]. LoopDA, equations 2 and 6: ||Dec(z, p) - x||_1; ours: the mean, not the sum.
    CyCADA, equation 3, one of the two terms: ||G'(G(x)) - x||_1. CycleGAN's identity loss: ||G(x) - x||_1 for an x that
    is of G's target domain already.
    """
    return mean(functional.l1_loss(output, image, reduction="sum"), output.numel())
