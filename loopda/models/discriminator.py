"""Discriminators of images (LoopDA's lineage), of segmentation maps (AdaptSegNet, ADVENT, CyCADA), features (DANN)."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from loopda.models.compute.normalisation import Dropout2d
from loopda.models.compute.precision import ScoreConvolution, mixed


@mixed
class MultiScaleDiscriminator(nn.Module):
    """D: images (N, 3, H, W) -> one map of scores per scale. Real is 1, generated is 0.

    Each scale has its own four 4x4 convolutions of stride 2 and a 1x1; between the scales the image is halved.
    No normalisation, and a bias only in the last convolution of a scale. width is the channels of the first
    convolution (64 in the lineage).
    """

    def __init__(self, *, width: int, scales: int):
        super().__init__()
        self.scales = nn.ModuleList(self._scale(width) for _ in range(scales))

    @staticmethod
    def _scale(width: int) -> nn.Sequential:
        channels = [3, width, 2 * width, 4 * width, 8 * width]
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False), nn.LeakyReLU(0.2, inplace=True)]
        return nn.Sequential(*layers, ScoreConvolution(channels[-1], 1, 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        scores = []
        for index, scale in enumerate(self.scales):
            if index:
                images = functional.avg_pool2d(images, 3, stride=2, padding=1, count_include_pad=False)
            scores.append(scale(images))
        return scores


@mixed
class MapDiscriminator(nn.Sequential):
    """D of AdaptSegNet and ADVENT: maps (N, K, H, W) over the classes -> scores (N, 1, H / 2^layers, W / 2^layers).

    4x4 convolutions of stride 2 with leaky ReLU (slope 0.2). width is the channels of the first one. The literature has
    five layers, which gives each score a receptive field of 94 pixels (four: 46), and a width of 64: 2.8 million
    parameters.
    """

    def __init__(self, *, classes: int, width: int, layers: int = 5):
        channels = [classes, *(width * 2**index for index in range(layers - 1))]
        parts: list[nn.Module] = []
        for before, after in pairwise(channels):
            parts += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
        super().__init__(*parts, ScoreConvolution(channels[-1], 1, 4, stride=2, padding=1))


@mixed
class ScoreDiscriminator(nn.Sequential):
    """D_feat of CyCADA: 1x1 convolutions on score maps (N, K, h, w) -> scores (N, 1, h, w).

    width is the channels of the first one, 512 in the authors' code; the second has half of them. Each is followed by
    a dropout of whole channels, 0.5 there. One score, where the authors have two, is the same classifier.
    """

    def __init__(self, *, classes: int, width: int, dropout: float):
        super().__init__(
            nn.Conv2d(classes, width, 1),
            nn.ReLU(inplace=True),
            Dropout2d(dropout),
            nn.Conv2d(width, width // 2, 1),
            nn.ReLU(inplace=True),
            Dropout2d(dropout),
            ScoreConvolution(width // 2, 1, 1),
        )


@mixed
class DomainClassifier(nn.Sequential):
    """1x1 convolutions that classify the domain of each position of features (N, C, h, w) -> scores (N, 1, h, w)."""

    def __init__(self, *, channels: int, width: int):
        super().__init__(
            nn.Conv2d(channels, width, 1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, width, 1),
            nn.LeakyReLU(0.2, inplace=True),
            ScoreConvolution(width, 1, 1),
        )


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient, None


def reverse_gradient(x: Tensor, strength: float) -> Tensor:
    """The identity, whose gradient is multiplied by -strength (Ganin et al., JMLR 2016)."""
    return _Reversal.apply(x, strength)
