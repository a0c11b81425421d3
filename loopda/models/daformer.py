"""The network of DAFormer (Hoyer et al., CVPR 2022): a Mix Transformer and a context-aware decoder.

Written from the paper's description; the tensors have the names of the authors' checkpoints.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from loopda.models.compute.depthwise import DilatedDepthwiseConv2d
from loopda.models.compute.normalisation import BatchNorm2d, Dropout2d
from loopda.models.efficientnet import EfficientNetLite0
from loopda.models.mit import MixTransformer
from loopda.models.resnet import freeze_normalisation_affine
from loopda.models.segmentation_network import Outputs, SegmentationNetwork

DILATIONS = (1, 6, 12, 18)  # of the parallel branches of the fusion


class Convolution(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.conv = conv
        self.bn = BatchNorm2d(conv.out_channels)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)))


class SeparableConvolution(nn.Module):
    """A dilated 3x3 convolution of each channel, then a 1x1 convolution across them."""

    def __init__(self, channels: int, out_channels: int, *, dilation: int):
        super().__init__()
        self.depthwise_conv = Convolution(DilatedDepthwiseConv2d(channels, 3, dilation=dilation))
        self.pointwise_conv = Convolution(nn.Conv2d(channels, out_channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise_conv(self.depthwise_conv(x))


class ContextFusion(nn.Module):
    """Parallel convolutions of several dilations, fused by a 3x3 convolution; without image pooling."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.aspp_modules = nn.ModuleList(
            Convolution(nn.Conv2d(channels, out_channels, 1, bias=False))
            if dilation == 1
            else SeparableConvolution(channels, out_channels, dilation=dilation)
            for dilation in DILATIONS
        )
        self.bottleneck = Convolution(nn.Conv2d(len(DILATIONS) * out_channels, out_channels, 3, padding=1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.bottleneck(torch.cat([branch(x) for branch in self.aspp_modules], dim=1))


class Embedding(nn.Module):
    """A linear layer on each position: (N, C, h, w) -> (N, D, h, w)."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.proj = nn.Linear(channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ContextDecoder(nn.Module):
    """The maps of all four stages, embedded, upsampled to the first, fused and classified: logits at stride 4."""

    def __init__(self, dims: tuple[int, int, int, int], *, channels: int, classes: int, dropout: float):
        super().__init__()
        self.embed_layers = nn.ModuleList(Embedding(dim, channels) for dim in dims)
        self.fuse_layer = ContextFusion(len(dims) * channels, channels)
        self.dropout = Dropout2d(dropout)
        self.conv_seg = nn.Conv2d(channels, classes, 1)
        nn.init.normal_(self.conv_seg.weight, std=0.01)
        nn.init.zeros_(self.conv_seg.bias)

    def forward(self, maps: list[Tensor]) -> Tensor:
        size = maps[0].shape[2:]
        embedded = [embed(stage) for embed, stage in zip(self.embed_layers, maps, strict=True)]
        resized = [functional.interpolate(stage, size=size, mode="bilinear", align_corners=False) for stage in embedded]
        return self.conv_seg(self.dropout(self.fuse_layer(torch.cat(resized, dim=1))))


class DAFormerNetwork(SegmentationNetwork):
    """Encoder and context-aware decoder; there is no auxiliary head.

    encoder: a name in loopda.models.mit.ENCODERS, whose maps have strides of 4, 8, 16 and 32, or efficientnet_lite0,
    whose maps end at `output_stride`. head_channels: 256 in the paper. drop_path: see MixTransformer.
    bn_pretrain: as in PSPNet. Its outputs `shallow` and `features` are the maps of the first and of the last stage.
    """

    trunk = ("backbone",)
    heads = ("decode_head", "bn_pretrain")
    has_aux = False
    aligned = False
    output_stride = shallow_stride = 4  # of the logits, and of the shallow features

    def __init__(
        self,
        *,
        classes: int,
        encoder: str = "mit_b5",
        head_channels: int = 256,
        dropout: float = 0.1,
        drop_path: float = 0.1,
        output_stride: int = 8,
        freeze_affine: bool = False,
        bn_pretrain: bool = False,
    ):
        super().__init__()
        if encoder == "efficientnet_lite0":
            self.backbone = EfficientNetLite0(output_stride=output_stride)
            self.channels = self.backbone.channels[1:]
            if freeze_affine:
                freeze_normalisation_affine(self.trunk_layers())
        else:
            self.backbone = MixTransformer(encoder, drop_path=drop_path)
            self.channels = self.backbone.dims
        self.shallow_channels = self.channels[0]
        self.bn_pretrain = BatchNorm2d(self.channels[-1]) if bn_pretrain else None
        self.decode_head = ContextDecoder(self.channels, channels=head_channels, classes=classes, dropout=dropout)

    def forward(self, images: Tensor, *, aux: bool | int = True, logits: bool = True) -> Outputs:
        """The outputs for normalised images (N, 3, H, W); `logits` as in Segmenter, `aux` has no effect."""
        maps = self.backbone(images)[-4:]
        if self.bn_pretrain is not None:
            maps[-1] = self.bn_pretrain(maps[-1])
        main_logits = self.decode_head(maps) if logits else None
        return Outputs(maps[0], None, main_logits, maps[-1], self.aligned)
