"""PSPNet (Zhao et al., CVPR 2017) on the dilated ResNet, in the layout of the official LoopDA evaluation code."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from loopda.models.compute.normalisation import BatchNorm2d, Dropout2d
from loopda.models.efficientnet import EfficientNetLite0
from loopda.models.resnet import INITIALISATIONS, add_layers, freeze_normalisation_affine, initialise, stem
from loopda.models.segmentation_network import Outputs, SegmentationNetwork, first_images

BINS = (1, 2, 3, 6)  # the pyramid's grid sizes


class PyramidPooling(nn.Module):
    """Pyramid pooling: the features, and their averages over 1, 4, 9 and 36 regions after a 1x1 convolution each.

    There is no ReLU in the head, because the official layout has none. The 3x3 convolution of the averages is computed
    on the small grids instead of their upsampled maps (`convolve_upsampled`). Both steps are linear, so the result is
    the same to rounding. This saves almost half of the head's operations.
    """

    def __init__(self, channels: int, out_channels: int, dropout: float):
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(bins), nn.Conv2d(channels, out_channels, 1, bias=False)) for bins in BINS
        )
        self.bottleneck = nn.Sequential(
            nn.Conv2d(channels + len(BINS) * out_channels, out_channels, 3, padding=1, bias=False),
            BatchNorm2d(out_channels),
            Dropout2d(dropout),
        )

    def forward(self, features: Tensor) -> Tensor:
        convolution, normalisation, dropout = self.bottleneck
        channels = [stage[1].out_channels for stage in self.stages]
        *of_regions, own = convolution.weight.split([*channels, features.shape[1]], dim=1)
        regions = [stage(features) for stage in self.stages]
        pyramid = convolve_upsampled(regions, of_regions, features.shape[2:])
        return dropout(normalisation(functional.conv2d(features, own, padding=1) + pyramid))


def convolve_upsampled(grids: Sequence[Tensor], weights: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """The sum of the 3x3 convolutions, with zero padding, of grids (N, C, b, b) upsampled bilinearly to `size`.

    weights: (O, C, 3, 3) for each grid. The result (N, O, *size) equals that of upsampling, then convolving.
    """
    rows, products = [], []
    for grid, weight in zip(grids, weights, strict=True):
        down, across = (_taps(grid.shape[2], length, grid) for length in size)
        cells = torch.einsum("ocde,ncij->ndiejo", weight, grid)  # d, e: row and column in the kernel; i, j: in the grid
        products.append(torch.einsum("ndiejo,wej->ndiwo", cells, across).flatten(1, 2))
        rows.append(down.flatten(1))
    return torch.einsum("hk,nkwo->nhwo", torch.cat(rows, dim=1), torch.cat(products, dim=1)).permute(0, 3, 1, 2)


def _taps(cells: int, length: int, like: Tensor) -> Tensor:
    """(length, 3, cells): the weight of each of `cells` in each upsampled position and its two neighbours in a row.

    The weights of neighbours beyond the ends are zero. like: a tensor with the type and device of the result.
    """
    identity = torch.eye(cells, dtype=like.dtype, device=like.device)[None]
    upsampled = functional.interpolate(identity, size=length, mode="linear", align_corners=True)[0].T
    padded = functional.pad(upsampled, (0, 0, 1, 1))
    return torch.stack([padded[place : place + length] for place in range(3)], dim=1)


class PSPNet(SegmentationNetwork):
    """The segmentation network: `Enc` (layer0 ... layer4) and `F` (final2) of the paper, and an auxiliary head.

    classes: length of the class list. encoder: resnet, or efficientnet_lite0, which has no blocks, width and stride_in
    to choose. blocks, width: ResNet-101 is (3, 4, 23, 3) and 64.
    head_channels: 512 in the literature. bn_pretrain: the extra normalisation of the distilled student, which absorbs
    the large feature scale of self-supervised weights (ProDA). freeze_affine: whether the scales and shifts of the
    trunk's normalisations stay as they are, as in the official code with ImageNet weights; a network that is trained
    from scratch needs to learn them.
    """

    trunk = ("layer0", "layer1", "layer2", "layer3", "layer4")
    heads = ("final1", "final2", "bn_pretrain")

    def __init__(
        self,
        *,
        classes: int,
        encoder: str = "resnet",
        blocks: tuple[int, int, int, int] = (3, 4, 23, 3),
        width: int = 64,
        head_channels: int = 512,
        stride_in: str = "conv1",
        output_stride: int = 8,
        dropout: float = 0.1,
        bn_pretrain: bool = False,
        freeze_affine: bool = True,
        initialisation: str = "normal",
    ):
        super().__init__()
        self.output_stride = output_stride
        if encoder == "resnet":
            self.layer0 = nn.Sequential(*stem(width=width, output_stride=output_stride))
            self.channels = add_layers(self, blocks=blocks, width=width, stride_in=stride_in)
            self.shallow_channels, self.shallow_stride = self.channels[1], output_stride
        else:
            self.trunk = ("backbone",)
            self.backbone = EfficientNetLite0(output_stride=output_stride)
            self.channels = self.backbone.channels[1:]
            self.shallow_channels, self.shallow_stride = self.channels[0], 4
        layer3, layer4 = self.channels[2:]
        self.bn_pretrain = BatchNorm2d(layer4) if bn_pretrain else None
        self.final1 = nn.Sequential(
            nn.Conv2d(layer3, head_channels, 3, padding=1),
            BatchNorm2d(head_channels),
            Dropout2d(dropout),
            nn.Conv2d(head_channels, classes, 1),
        )
        self.final2 = nn.Sequential(
            PyramidPooling(layer4, head_channels, dropout), nn.Conv2d(head_channels, classes, 1)
        )
        initialise(self, INITIALISATIONS[initialisation])
        if freeze_affine:
            freeze_normalisation_affine(self.trunk_layers())

    def forward(self, images: Tensor, *, aux: bool | int = True, logits: bool = True) -> Outputs:
        """The outputs for normalised images (N, 3, H, W); `aux` and `logits` as in Segmenter."""
        shallow, middle, features = self._encode(images)
        if self.bn_pretrain is not None:
            features = self.bn_pretrain(features)
        aux_logits = self.final1(first_images(middle, aux)) if aux else None
        main_logits = self.final2(features) if logits else None
        return Outputs(shallow, aux_logits, main_logits, features)

    def _encode(self, images: Tensor) -> Sequence[Tensor]:
        """The shallow features, those of the auxiliary head, and the last."""
        if self.trunk == ("backbone",):
            _, shallow, _, middle, features = self.backbone(images)
            return shallow, middle, features
        shallow = self.layer2(self.layer1(self.layer0(images)))
        middle = self.layer3(shallow)
        return shallow, middle, self.layer4(middle)
