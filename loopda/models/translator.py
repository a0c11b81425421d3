"""The networks that translate images between two domains without pairs (CycleGAN, Zhu et al., ICCV 2017)."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from loopda.models.compute.normalisation import InstanceNorm2d
from loopda.models.compute.precision import ScoreConvolution, mixed
from loopda.models.image_decoder import ConvolutionBlock, ResidualBlock
from loopda.runtime.distributed import gather_rows, share

DEVIATION = 0.02  # of the normal distribution that every convolution starts from


@mixed
class Translator(nn.Module):
    """G: images (N, 3, H, W) in [-1, 1] -> images of the same size in [-1, 1].

    A 7x7 convolution, `levels` of stride 2, residual blocks, as many transposed convolutions, and a 7x7 that ends in
    RGB. width is the channels of the first one: 64 in the paper, with 2 levels and 9 blocks, 11.4 million parameters.
    """

    def __init__(self, *, width: int, levels: int, residual_blocks: int):
        super().__init__()
        channels = [2**level * width for level in range(levels + 1)]
        layers: list[nn.Module] = [ConvolutionBlock(3, width, kernel=7)]
        layers += [ConvolutionBlock(before, after, stride=2) for before, after in pairwise(channels)]
        layers += [ResidualBlock(channels[-1]) for _ in range(residual_blocks)]
        for before, after in pairwise(reversed(channels)):
            layers += [
                nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1),
                InstanceNorm2d(after),
                nn.ReLU(inplace=True),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 3, 7, padding=3, padding_mode="reflect"), nn.Tanh())
        _initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        return self.layers(images)[:, :, :height, :width]  # sides that the strides do not divide come out longer


@mixed
class PatchDiscriminator(nn.Sequential):
    """D: images (N, 3, H, W) -> scores (N, 1, h, w), one for each patch. Real is 1, translated is 0.

    `layers` 4x4 convolutions of stride 2 and two of stride 1, with leaky ReLU (slope 0.2), and instance normalisation
    except in the first and the last. 3 layers have patches of 70 pixels, as in the paper; 2 of 34, 1 of 16. width is
    the channels of the first one, 64 in the paper.
    """

    def __init__(self, *, width: int, layers: int):
        channels = [min(2**level, 8) * width for level in range(layers + 1)]
        parts: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
        for level, (before, after) in enumerate(pairwise(channels), start=1):
            parts += [
                nn.Conv2d(before, after, 4, stride=2 if level < layers else 1, padding=1),
                InstanceNorm2d(after),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        super().__init__(*parts, ScoreConvolution(channels[-1], 1, 4, padding=1))
        _initialise(self)


class ImageBuffer(nn.Module):
    """A history of translations, some of which a discriminator gets instead of new ones (Shrivastava et al., 2017).

    Until it holds `capacity` images of (height, width), images are stored and returned unchanged. From then on each is
    returned unchanged with probability 1/2; otherwise it replaces a random stored image, which is returned. Capacity 0
    returns all unchanged. The stored images are part of the state, so that a resumed training returns the same.
    """

    def __init__(self, *, capacity: int, height: int, width: int):
        super().__init__()
        self.register_buffer("kept", torch.zeros(capacity, 3, height, width))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, images: Tensor) -> Tensor:
        """The images for the discriminator, for the translations `images` (N, 3, H, W); without gradient.

        Every process stores the translations of all, and returns its share.
        """
        returned = [self._exchange(image) for image in gather_rows(images.detach())]
        return torch.stack(list(share(returned)))

    def _exchange(self, image: Tensor) -> Tensor:
        capacity, count = len(self.kept), int(self.count)
        if count < capacity:
            self.kept[count] = image
            self.count += 1
            return image
        if capacity == 0 or torch.rand(()) < 0.5:
            return image
        place = int(torch.randint(capacity, ()))
        stored = self.kept[place].clone()
        self.kept[place] = image
        return stored


@torch.no_grad()
def _initialise(network: nn.Module) -> None:
    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(part.weight, std=DEVIATION)
            nn.init.zeros_(part.bias)
