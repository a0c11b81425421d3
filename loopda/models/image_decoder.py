"""The image decoder with semantic rendering (LoopDA, section 3.1.1 and figure 2(d))."""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from loopda.models.compute.normalisation import InstanceNorm2d
from loopda.models.compute.precision import mixed
from loopda.models.compute.recomputation import Recomputed

Rendering = Literal["residual", "none"]


class ConvolutionBlock(nn.Sequential):
    """Reflection padding, convolution, instance normalisation, and ReLU unless it ends a residual block."""

    def __init__(self, channels: int, out_channels: int, *, kernel: int = 3, stride: int = 1, activated: bool = True):
        parts = [
            nn.Conv2d(channels, out_channels, kernel, stride, padding=kernel // 2, padding_mode="reflect"),
            InstanceNorm2d(out_channels),
        ]
        super().__init__(*parts, nn.ReLU(inplace=True)) if activated else super().__init__(*parts)


class ResidualBlock(Recomputed):
    """Two convolution blocks with a residual connection."""

    def __init__(self, channels: int):
        super().__init__()
        self.blocks = nn.Sequential(
            ConvolutionBlock(channels, channels), ConvolutionBlock(channels, channels, activated=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.blocks(x)


class SemanticRendering(nn.Module):
    """Multiply the semantic features of p with the raw features and add the raw features: x + x * g(p).

    p has the resolution of the logits and is upsampled bilinearly. After a nearest resize the gradient of the rendering
    would reach only one pixel of p in each block, and at night this gradient is the purpose (section 3.1.2). `aligned`
    follows the network (aligned corners or not), so that p and x stay in register. With `coarse`, g works at the
    resolution of the logits and its result is upsampled instead of p: the decoder costs a third, for small machines.
    """

    def __init__(self, classes: int, channels: int, semantic_channels: int, *, coarse: bool, aligned: bool = True):
        super().__init__()
        self.coarse, self.aligned = coarse, aligned
        self.semantics = nn.Sequential(
            nn.Conv2d(classes, semantic_channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(semantic_channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor, probabilities: Tensor) -> Tensor:
        if self.coarse:
            return x + x * _resized(self.semantics(probabilities), x.shape[2:], self.aligned)
        return x + x * self.semantics(_resized(probabilities, x.shape[2:], self.aligned))


def _resized(tensor: Tensor, size: tuple[int, int], aligned: bool) -> Tensor:
    return functional.interpolate(tensor, size=size, mode="bilinear", align_corners=aligned)


class UpsamplingLevel(nn.Module):
    """Doubles the resolution: nearest, 3x3 convolution, instance normalisation, semantic rendering, ReLU."""

    def __init__(self, channels: int, out_channels: int, rendering: SemanticRendering | None):
        super().__init__()
        self.convolution = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.normalisation = InstanceNorm2d(out_channels)
        self.rendering = rendering

    def forward(self, x: Tensor, probabilities: Tensor) -> Tensor:
        x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
        x = self.normalisation(self.convolution(x))
        if self.rendering is not None:
            x = self.rendering(x, probabilities)
        return functional.relu(x)


@mixed
class ImageDecoder(nn.Module):
    """Dec: features z (N, C, h, w) and class probabilities p (N, K, h', w') -> images (N, 3, H, W) in [-1, 1].

    width is the channels of the stem (256 in the lineage); each of the log2(output_stride) levels halves them.
    The layout is the lineage's plain decoder with the paper's rendering rule at every level; `rendering="none"` is the
    decoder of Table 3, row (iv), which does not use p at all. image_kernel is the size of the last convolution; aligned
    says whether the network's maps have aligned corners (Outputs.aligned).
    """

    def __init__(
        self,
        *,
        features: int,
        classes: int,
        output_stride: int,
        width: int,
        residual_blocks: int,
        semantic_channels: int,
        rendering: Rendering,
        coarse_rendering: bool,
        image_kernel: int = 7,
        aligned: bool = True,
    ):
        super().__init__()
        self.stem = nn.Sequential(
            ConvolutionBlock(features, width), *(ResidualBlock(width) for _ in range(residual_blocks))
        )
        levels = output_stride.bit_length() - 1
        channels = [max(width // 2**level, 8) for level in range(levels + 1)]
        self.output_stride, self.aligned = output_stride, aligned
        self.levels = nn.ModuleList(
            UpsamplingLevel(
                before,
                after,
                SemanticRendering(classes, after, semantic_channels, coarse=coarse_rendering, aligned=aligned)
                if rendering == "residual"
                else None,
            )
            for before, after in pairwise(channels)
        )
        self.to_image = nn.Conv2d(channels[-1], 3, image_kernel, padding=image_kernel // 2, padding_mode="reflect")

    def forward(self, features: Tensor, probabilities: Tensor, size: tuple[int, int]) -> Tensor:
        """size: (H, W) of the images. The features are first resampled to H and W over the output stride."""
        height, width = (-(-length // self.output_stride) for length in size)
        x = _resized(features, (height, width), self.aligned)
        x = self.stem(x)
        for level in self.levels:
            x = level(x, probabilities)
        return torch.tanh(self.to_image(x)[:, :, : size[0], : size[1]])
