"""Least-squares adversarial losses (Mao et al., ICCV 2017), summed over the scales of a discriminator."""

from collections.abc import Sequence

import torch
from torch import Tensor


def discriminator_loss(*, real: Sequence[Sequence[Tensor]], fake: Sequence[Tensor]) -> Tensor:
    """What D minimises: sum over scales of mean (D(real) - 1)^2 for each kind of real image, + mean D(fake)^2.

    LoopDA, equations 3 and 7 with real and fake exchanged (D(real) -> 1 instead of 0; the training is the same).
    `real` holds one list of score maps for each kind of real image: equation 7 counts both x_d and x_ud as real.
    """
    terms = [((scores.float() - 1) ** 2).mean() for kind in real for scores in kind]
    terms += [(scores.float() ** 2).mean() for scores in fake]
    return torch.stack(terms).sum()


def generator_loss(*, fake: Sequence[Tensor]) -> Tensor:
    """What the translator minimises: sum over scales of mean (D(fake) - 1)^2, in [0, inf)."""
    return torch.stack([((scores.float() - 1) ** 2).mean() for scores in fake]).sum()
