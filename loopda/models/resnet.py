"""The dilated ResNet trunk that LoopDA inherits from the DeepLab line of work.

The parameters have the names of the official LoopDA evaluation code (`layer0` is the stem), so that its `student.pth`
and other weights of that family load by name.
"""

from collections.abc import Callable, Iterable
from functools import partial

from torch import Tensor, nn

from loopda.models.compute.normalisation import BatchNorm2d
from loopda.models.compute.recomputation import Recomputed

EXPANSION = 4  # a bottleneck's output channels per plane (He et al., CVPR 2016, table 1)


class Bottleneck(Recomputed):
    """1x1, 3x3, 1x1 convolutions with an identity. `stride_in` says which of the first two carries the stride:
    "conv1" is the caffe-style network of the literature on adaptation, "conv2" is torchvision's and SimCLRv2's."""

    def __init__(self, channels: int, planes: int, *, stride: int, dilation: int, stride_in: str, projected: bool):
        super().__init__()
        stride1, stride2 = (stride, 1) if stride_in == "conv1" else (1, stride)
        self.conv1 = nn.Conv2d(channels, planes, 1, stride1, bias=False)
        self.bn1 = BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride2, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, planes * EXPANSION, 1, bias=False)
        self.bn3 = BatchNorm2d(planes * EXPANSION)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if projected:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, planes * EXPANSION, 1, stride, bias=False),
                BatchNorm2d(planes * EXPANSION),
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        identity = x if self.downsample is None else self.downsample(x)
        return self.relu(self.bn3(self.conv3(out)) + identity)


def stem(*, width: int, output_stride: int) -> tuple[nn.Module, nn.Module, nn.Module, nn.Module]:
    """The layers before layer1: a convolution to `width` channels, its normalisation, ReLU, and pooling.

    The output stride is 8 in the literature; at 4 the pooling keeps the resolution, for small images.
    """
    pool_stride = {8: 2, 4: 1}[output_stride]
    return (
        nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
        BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=pool_stride, padding=1, ceil_mode=True),
    )


def add_layers(
    module: nn.Module, *, blocks: tuple[int, int, int, int], width: int, stride_in: str
) -> tuple[int, int, int, int]:
    """Give `module` the attributes layer1 ... layer4 and return their channels.

    `width` is the planes of layer1 (64 in the literature; layer2 to layer4 have 2, 4 and 8 times as many).
    The deeper layers keep the resolution by dilation (Yu et al., CVPR 2017): 2 in layer3, 4 in layer4.
    """
    channels = width
    outputs = []
    for index, (count, stride, dilation) in enumerate(zip(blocks, (1, 2, 1, 1), (1, 1, 2, 4), strict=True), start=1):
        planes = width * 2 ** (index - 1)
        layer = []
        for block in range(count):
            first = block == 0
            layer.append(
                Bottleneck(
                    channels,
                    planes,
                    stride=stride if first else 1,
                    dilation=dilation,
                    stride_in=stride_in,
                    projected=first,
                )
            )
            channels = planes * EXPANSION
        setattr(module, f"layer{index}", nn.Sequential(*layer))
        outputs.append(channels)
    return tuple(outputs)


def initialise(module: nn.Module, convolution: Callable[[Tensor], object]) -> None:
    """Initialise every convolution's weight with `convolution`, biases with 0, normalisations with 1 and 0."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            convolution(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, BatchNorm2d):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)


def freeze_normalisation_affine(trunk: Iterable[nn.Module]) -> None:
    """Exclude the scales and shifts of the normalisations in the trunk from training, as the official code does."""
    for layer in trunk:
        for part in layer.modules():
            if isinstance(part, BatchNorm2d):
                part.requires_grad_(False)


INITIALISATIONS = {
    # as the official code initialises what it does not load
    "normal": partial(nn.init.normal_, std=0.01),
    # for training from scratch (He et al., ICCV 2015)
    "kaiming": partial(nn.init.kaiming_normal_, mode="fan_out", nonlinearity="relu"),
}
