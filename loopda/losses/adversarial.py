"""Adversarial losses: real against generated images (LoopDA, CycleGAN), and source against target (the other methods).

The losses of images are least-squares (Mao et al., ICCV 2017), summed over the scales of a discriminator.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from loopda.runtime.distributed import mean

SOURCE, TARGET = 0, 1  # the domains, as a discriminator of domains should score them
GanLoss = Literal["bce", "lsgan"]


def discriminator_loss(*, real: Sequence[Sequence[Tensor]], fake: Sequence[Tensor]) -> Tensor:
    """The discriminator's loss: sum over scales of mean (D(real) - 1)^2 for each kind of real image, + mean D(fake)^2.

    real: for each kind of real image a list of score maps, one per scale; equation 7 has two kinds, x_d and x_ud.
    fake: the score maps of generated images, one per scale. Score maps may have any shape. In [0, inf).
    LoopDA, equations 3 and 7 with real and fake exchanged (D(real) -> 1 instead of 0; the training is the same).
    CyCADA, equation 2 in CycleGAN's least-squares form.
    """
    terms = [_mean_square(scores.float() - 1) for kind in real for scores in kind]
    terms += [_mean_square(scores.float()) for scores in fake]
    return torch.stack(terms).sum()


def generator_loss(*, fake: Sequence[Tensor]) -> Tensor:
    """The generator's adversarial loss: sum over scales of mean (D(fake) - 1)^2, in [0, inf).

    fake: the score maps of generated images, one per scale, of any shape. The other side of `discriminator_loss`.
    """
    return torch.stack([_mean_square(scores.float() - 1) for scores in fake]).sum()


def domain_loss(*, scores: Tensor, domain: int | Tensor, kind: GanLoss) -> Tensor:
    """Mean over a domain discriminator's scores, of any shape, of their loss against `domain`, in [0, inf).

    domain: SOURCE or TARGET, or a tensor with the domain of each score (ROAD, equation 3).
    bce: binary cross-entropy of the scores as logits (AdaptSegNet, Tsai et al., CVPR 2018; ADVENT, Vu et al.,
    CVPR 2019; DANN, Ganin et al., JMLR 2016); lsgan: (score - domain)^2 (AdaptSegNet's second variant).
    The discriminator minimises it for the true domains, the segmentation network for SOURCE on target images.
    Without any score the result is 0 and still carries a graph.
    """
    scores = scores.float()
    labels = torch.zeros_like(scores) + domain
    distance = functional.binary_cross_entropy_with_logits if kind == "bce" else functional.mse_loss
    return mean(distance(scores, labels, reduction="sum"), scores.numel())


def domain_accuracy(*, scores: Tensor, domain: int) -> Tensor:
    """The fraction of a domain discriminator's scores, of any shape, that classify `domain` correctly.

    A score over 0 means TARGET. In [0, 1], without gradient. CyCADA's gate uses it (appendix A.1).
    """
    return mean(((scores > 0) == (domain == TARGET)).float().sum(), scores.numel())


def _mean_square(x: Tensor) -> Tensor:
    return mean((x**2).sum(), x.numel())
