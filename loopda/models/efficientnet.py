"""EfficientNet-Lite0 (Tan and Le, "EfficientNet", ICML 2019) as a dilated encoder.

"Lite" is the variant for phones: ReLU6 in place of swish, and no squeeze-and-excitation. It is small, and its ImageNet
weights come with pip (docs/weights.md). Written from table 1 of the paper and from the names and shapes of the
published tensors, which are the names here without their leading underscores.
"""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from loopda.models.compute.depthwise import dilated_depthwise_conv2d
from loopda.models.compute.normalisation import BatchNorm2d
from loopda.models.compute.recomputation import Recomputed

EPSILON = 1e-3  # of the normalisations of the published weights; PyTorch's own is 1e-5
STEM_CHANNELS = 32


class BlockRow(NamedTuple):
    """A row of table 1: `blocks` inverted residuals of equal channels, the first of which has the stride."""

    channels: int
    blocks: int
    kernel: int
    stride: int
    expansion: int


STAGES = (
    BlockRow(16, 1, 3, 1, 1),
    BlockRow(24, 2, 3, 2, 6),
    BlockRow(40, 2, 5, 2, 6),
    BlockRow(80, 3, 3, 2, 6),
    BlockRow(112, 3, 5, 1, 6),
    BlockRow(192, 4, 5, 2, 6),
    BlockRow(320, 1, 3, 1, 6),
)


class SamePadding(nn.Conv2d):
    """A convolution of whose output there are ceil(length / stride) columns and rows, as TensorFlow pads.

    With a stride of 2 and an even length it pads one more at the end than at the beginning. The published weights were
    trained so; PyTorch's symmetric padding would look at other pixels.
    """

    def forward(self, x: Tensor) -> Tensor:
        down, across = (
            max((-(-length // stride) - 1) * stride + (kernel - 1) * dilation + 1 - length, 0)
            for length, stride, kernel, dilation in zip(
                x.shape[2:], self.stride, self.kernel_size, self.dilation, strict=True
            )
        )
        if self.dilation != (1, 1) and self.groups > 1 and self.stride == (1, 1):
            return dilated_depthwise_conv2d(x, self.weight, dilation=self.dilation)
        if down == across and down % 2 == 0:
            return functional.conv2d(x, self.weight, self.bias, self.stride, down // 2, self.dilation, self.groups)
        padded = functional.pad(x, (across // 2, across - across // 2, down // 2, down - down // 2))
        return functional.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class InvertedResidual(Recomputed):
    """MBConv: 1x1 expansion, depthwise convolution, linear 1x1 projection; an identity where the shape stays.

    keeps: whether the stage's stride leaves the block an identity, also where dilation has taken the stride's place.
    """

    def __init__(
        self, channels: int, out_channels: int, *, kernel: int, stride: int, dilation: int, expansion: int, keeps: bool
    ):
        super().__init__()
        inner = channels * expansion
        self.expand_conv = nn.Conv2d(channels, inner, 1, bias=False) if expansion > 1 else None
        self.bn0 = BatchNorm2d(inner, eps=EPSILON) if expansion > 1 else None
        self.depthwise_conv = SamePadding(inner, inner, kernel, stride, dilation=dilation, groups=inner, bias=False)
        self.bn1 = BatchNorm2d(inner, eps=EPSILON)
        self.project_conv = nn.Conv2d(inner, out_channels, 1, bias=False)
        self.bn2 = BatchNorm2d(out_channels, eps=EPSILON)
        self.identity = keeps and channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        out = x
        if self.expand_conv is not None:
            out = functional.relu6(self.bn0(self.expand_conv(out)))
        out = functional.relu6(self.bn1(self.depthwise_conv(out)))
        out = self.bn2(self.project_conv(out))
        return out + x if self.identity else out


class EfficientNetLite0(nn.Module):
    """Images (N, 3, H, W) -> the maps (N, C, h, w) after each stage; C is `channels`.

    output_stride: of the last map. Where a stage's stride would go beyond it, the convolutions behind are dilated
    instead (Chen et al., TPAMI 2018, section 3.1), so that the map holds what it would hold without, and the positions
    between. stages: how many of the seven there are; five reach stride 16 with 0.70 of the 3.4 million parameters.
    """

    def __init__(self, *, output_stride: int = 16, stages: int = 5):
        super().__init__()
        self.conv_stem = SamePadding(3, STEM_CHANNELS, 3, 2, bias=False)
        self.bn0 = BatchNorm2d(STEM_CHANNELS, eps=EPSILON)
        blocks: list[nn.Module] = []
        self.ends: list[int] = []  # the number of blocks up to the end of each stage
        channels, reached, dilation = STEM_CHANNELS, 2, 1
        for stage in STAGES[:stages]:
            for number in range(stage.blocks):
                stride = stage.stride if number == 0 else 1
                dilated = stride > 1 and reached >= output_stride
                blocks.append(
                    InvertedResidual(
                        channels,
                        stage.channels,
                        kernel=stage.kernel,
                        stride=1 if dilated else stride,
                        dilation=dilation,
                        expansion=stage.expansion,
                        keeps=stride == 1,
                    )
                )
                channels = stage.channels
                # the convolution that would have the stride still sees its neighbours; those behind skip what is new
                reached, dilation = (reached, dilation * stride) if dilated else (reached * stride, dilation)
            self.ends.append(len(blocks))
        self.blocks = nn.ModuleList(blocks)
        self.channels = tuple(stage.channels for stage in STAGES[:stages])
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out")

    def forward(self, images: Tensor) -> list[Tensor]:
        x = functional.relu6(self.bn0(self.conv_stem(images)))
        maps = []
        for number, block in enumerate(self.blocks, start=1):
            x = block(x)
            if number in self.ends:
                maps.append(x)
        return maps
