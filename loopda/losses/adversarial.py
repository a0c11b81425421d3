"""Adversarial losses: real against generated images (LoopDA's loops), and source against target (the other methods).

Image losses are least-squares (Mao et al., ICCV 2017), summed over the scales of a discriminator.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from loopda.runtime.distributed import mean

SOURCE, TARGET = 0, 1  # what a domain discriminator should answer
Kind = Literal["bce", "lsgan"]


def discriminator_loss(*, real: Sequence[Sequence[Tensor]], fake: Sequence[Tensor]) -> Tensor:
    """What D minimises: sum over scales of mean (D(real) - 1)^2 for each kind of real image, + mean D(fake)^2.

    LoopDA, equations 3 and 7 with real and fake exchanged (D(real) -> 1 instead of 0; the training is the same).
    CycleGAN's least-squares form of CyCADA's equation 2 too.
    `real` holds one list of score maps for each kind of real image: equation 7 counts both x_d and x_ud as real.
    """
    terms = [_mean_square(scores.float() - 1) for kind in real for scores in kind]
    terms += [_mean_square(scores.float()) for scores in fake]
    return torch.stack(terms).sum()


def generator_loss(*, fake: Sequence[Tensor]) -> Tensor:
    """What the translator minimises: sum over scales of mean (D(fake) - 1)^2, in [0, inf)."""
    return torch.stack([_mean_square(scores.float() - 1) for scores in fake]).sum()


def domain_loss(*, scores: Tensor, domain: int | Tensor, kind: Kind) -> Tensor:
    """Mean distance of a discriminator's scores, of any shape, to `domain`, in [0, inf).

    domain: SOURCE or TARGET, or for each score its own (ROAD, equation 3).
    bce: binary cross-entropy of the scores as logits (AdaptSegNet, Tsai et al., CVPR 2018; ADVENT, Vu et al.,
    CVPR 2019; DANN, Ganin et al., JMLR 2016); lsgan: (score - domain)^2 (AdaptSegNet's second variant).
    The adversary minimises it for the true domains; who fools the adversary minimises it for SOURCE on target.
    Without any score the result is 0 and still carries a graph.
    """
    scores = scores.float()
    wanted = torch.zeros_like(scores) + domain
    distance = functional.binary_cross_entropy_with_logits if kind == "bce" else functional.mse_loss
    return mean(distance(scores, wanted, reduction="sum"), scores.numel())


def domain_accuracy(*, scores: Tensor, domain: int) -> Tensor:
    """The share of a discriminator's scores, of any shape, that are right about `domain`: those over 0 say TARGET.

    In [0, 1], without gradient; CyCADA's gate looks at it (appendix A.1).
    """
    return mean(((scores > 0) == (domain == TARGET)).float().sum(), scores.numel())


def _mean_square(x: Tensor) -> Tensor:
    return mean((x**2).sum(), x.numel())
