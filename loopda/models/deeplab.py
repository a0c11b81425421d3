"""DeepLabV2 (Chen et al., TPAMI 2018) on the caffe-style ResNet, with the names of AdaptSegNet's and ADVENT's weights.

Written from the layout of those checkpoints and the papers: conv1, bn1, layer1 ... layer4 are the trunk, layer5 and
layer6 the classifiers after layer3 and layer4.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from loopda.models.compute.normalisation import BatchNorm2d
from loopda.models.efficientnet import EfficientNetLite0
from loopda.models.resnet import INITIALISATIONS, add_layers, freeze_normalisation_affine, initialise, stem
from loopda.models.segmentation_network import Outputs, SegmentationNetwork, first_images

INITIAL_DEVIATION = 0.01  # of the normal distribution that initialises the classifiers of AdaptSegNet, ADVENT and BDL
DILATIONS = (6, 12, 18, 24)  # of the parallel convolutions


class AtrousPyramid(nn.Module):
    """The sum of parallel 3x3 convolutions, each with its own dilation and bias: (N, C, h, w) -> logits (N, K, h, w).

    The weights always hold all four convolutions. The first `branches` of them are summed. AdaptSegNet's code returns
    from inside its loop over them, so that its published weights are made for the first two, and the other two were
    never trained.
    """

    def __init__(self, channels: int, classes: int, branches: int):
        super().__init__()
        self.branches = branches
        self.conv2d_list = nn.ModuleList(
            nn.Conv2d(channels, classes, 3, padding=dilation, dilation=dilation) for dilation in DILATIONS
        )

    def forward(self, features: Tensor) -> Tensor:
        return sum(convolution(features) for convolution in self.conv2d_list[: self.branches])


class DeepLabV2(SegmentationNetwork):
    """The network of AdaptSegNet and ADVENT. The arguments of its trunk are those of PSPNet.

    aspp_branches: 4 as in ADVENT and BDL, or 2 as in AdaptSegNet (see AtrousPyramid). levels: 2 for the multi-level
    network, 1 for a network without the classifier on layer3, which then has no auxiliary head.
    """

    trunk = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")
    heads = ("layer5", "layer6", "bn_pretrain")

    def __init__(
        self,
        *,
        classes: int,
        encoder: str = "resnet",
        blocks: tuple[int, int, int, int] = (3, 4, 23, 3),
        width: int = 64,
        stride_in: str = "conv1",
        output_stride: int = 8,
        aspp_branches: int = 4,
        levels: int = 2,
        bn_pretrain: bool = False,
        freeze_affine: bool = True,
        initialisation: str = "normal",
    ):
        super().__init__()
        self.output_stride = output_stride
        if encoder == "resnet":
            self.conv1, self.bn1, self.relu, self.maxpool = stem(width=width, output_stride=output_stride)
            self.channels = add_layers(self, blocks=blocks, width=width, stride_in=stride_in)
            self.shallow_channels, self.shallow_stride = self.channels[1], output_stride
        else:
            self.trunk = ("backbone",)
            self.backbone = EfficientNetLite0(output_stride=output_stride)
            self.channels = self.backbone.channels[1:]
            self.shallow_channels, self.shallow_stride = self.channels[0], 4
        layer3, layer4 = self.channels[2:]
        self.bn_pretrain = BatchNorm2d(layer4) if bn_pretrain else None
        self.has_aux = levels == 2
        self.layer5 = AtrousPyramid(layer3, classes, aspp_branches) if self.has_aux else None
        self.layer6 = AtrousPyramid(layer4, classes, aspp_branches)
        initialise(self, INITIALISATIONS[initialisation])
        if freeze_affine:
            freeze_normalisation_affine(self.trunk_layers())

    def forward(self, images: Tensor, *, aux: bool | int = True, logits: bool = True) -> Outputs:
        """The outputs for normalised images (N, 3, H, W); `aux` and `logits` as in Segmenter."""
        shallow, middle, features = self._encode(images)
        if self.bn_pretrain is not None:
            features = self.bn_pretrain(features)
        aux_logits = self.layer5(first_images(middle, aux)) if aux and self.layer5 is not None else None
        main_logits = self.layer6(features) if logits else None
        return Outputs(shallow, aux_logits, main_logits, features)

    def _encode(self, images: Tensor) -> Sequence[Tensor]:
        """The shallow features, those of the auxiliary head, and the last."""
        if self.trunk == ("backbone",):
            _, shallow, _, middle, features = self.backbone(images)
            return shallow, middle, features
        shallow = self.layer2(self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(images))))))
        middle = self.layer3(shallow)
        return shallow, middle, self.layer4(middle)
