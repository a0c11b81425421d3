"""The multi-scale image discriminator of the lineage (TridentAdapt), for least-squares adversarial losses."""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional


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
            layers += [
                nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        return nn.Sequential(*layers, nn.Conv2d(channels[-1], 1, 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        scores = []
        for index, scale in enumerate(self.scales):
            if index:
                images = functional.avg_pool2d(images, 3, stride=2, padding=1, count_include_pad=False)
            scores.append(scale(images))
        return scores
