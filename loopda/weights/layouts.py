"""The layouts of published weights: how their tensors are named, and what their networks expect to see.

Inside this package the trunk has the official LoopDA names: layer0.0 and layer0.1 are the stem's convolution and
normalisation, layer1 ... layer4 the rest; a Mix Transformer or EfficientNet is `backbone`. Heads keep the names of
their own layout.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LITE0_BLOCKS = 11  # of EfficientNet-Lite0, up to stride 16: those that segmentation networks have of its sixteen
BACKBONE = re.compile(r"layer[0-4]\.|backbone\.")  # how the names of a backbone's tensors begin in this package


@dataclass(frozen=True)
class TensorLayout:
    """A family of weights whose tensors are named alike.

    normalisations: names in loopda.models.segmenter.NORMALISATIONS. The first is the input that the weights were
    trained with; the others are what the literature feeds them on purpose. stride_in: the convolution of a bottleneck
    that carries the stride, "" for a transformer. network: the name of the whole network in the section `network`, ""
    where the weights are a backbone alone. guessed: networks with another input are saved in the same layout, so the
    input is a guess.
    """

    title: str
    normalisations: tuple[str, ...]
    stride_in: str
    network: str = ""
    guessed: bool = False


TORCHVISION = TensorLayout("torchvision's ResNet", ("imagenet",), "conv2")
# LoopDA's student takes SimCLRv2's weights but sees caffe-rgb: bn_pretrain and batch statistics absorb the scale.
# Supervised trainings nest their tensors in the same way: where the configuration says imagenet, the file is of those
PRODA = TensorLayout("SimCLRv2's ResNet, ProDA's conversion", ("unit", "caffe-rgb", "imagenet"), "conv2", guessed=True)
SEPARIUS = TensorLayout("SimCLRv2's ResNet, Separius' conversion", ("unit", "caffe-rgb"), "conv2")
# made for BGR minus mean; LoopDA and TridentAdapt also divide by 128, which batch statistics absorb
CAFFE = TensorLayout("the caffe-style DeepLab initialisation", ("caffe-255", "caffe"), "conv1")
OFFICIAL = TensorLayout("official LoopDA", ("caffe",), "conv1", "pspnet")
OFFICIAL_STUDENT = TensorLayout("official LoopDA, distilled student", ("caffe-rgb",), "conv1", "pspnet")
MIT = TensorLayout("SegFormer's Mix Transformer", ("imagenet",), "")
LITE0 = TensorLayout("EfficientNet-Lite0", ("lite",), "")
DEEPLAB = TensorLayout("AdaptSegNet's and ADVENT's DeepLabV2", ("caffe-255",), "conv1", "deeplab")
OWN = "a checkpoint of this package"


def layout_of(names: list[str], nested: Mapping[str, Any] | None) -> TensorLayout | None:
    """The layout of tensors with these names, or None where it is not known.

    nested: the dictionary that holds the tensors under the key "state_dict", or None where they lie elsewhere.
    """

    def any_begins(*beginnings: str) -> bool:
        return any(name.startswith(beginnings) for name in names)

    if any_begins("layer7.", "layer8."):
        return None
    if any_begins("layer0."):
        return OFFICIAL_STUDENT if any_begins("bn_pretrain.") else OFFICIAL
    if any_begins("patch_embed1.", "block1."):
        return MIT
    if any_begins("_conv_stem.") and not any("._se_" in name for name in names):
        return LITE0  # EfficientNets that are not "lite" have squeeze-and-excitation
    if any_begins("Scale."):
        return CAFFE
    if any_begins("net.0.0.", "net.1.blocks."):
        return SEPARIUS
    if any_begins("layer5.conv2d_list.", "layer6.conv2d_list."):
        return DEEPLAB
    if any_begins("layer1.") and any_begins("layer4.") and not any_begins("conv3."):
        # torchvision publishes plain state dicts; ImageNet trainings nest them beside the name of the architecture
        # (`arch`) or the state of the optimiser
        return TORCHVISION if nested is None or {"arch", "optimizer"} & nested.keys() else PRODA
    return None


def own_name(name: str) -> str:
    """The name in this package of the tensor that is called `name` in any of the layouts."""
    name = name.removeprefix("Scale.")
    if re.match(r"(patch_embed|block|norm)[1-4]\.", name):
        return f"backbone.{name}"
    if name.startswith(("_conv_stem.", "_bn0.", "_blocks.")):
        block = re.match(r"_blocks\.(\d+)\.", name)
        beyond = block is not None and int(block[1]) >= LITE0_BLOCKS
        return ("classifier." if beyond else "backbone.") + name.replace("._", ".").removeprefix("_")
    if name.startswith(("_conv_head.", "_bn1.", "_fc.")):
        return f"classifier.{name.removeprefix('_')}"
    separius = re.fullmatch(r"net\.0\.(0|1\.0)\.(.+)", name)
    if separius:
        return f"layer0.{separius[1][0]}.{separius[2]}"
    separius = re.fullmatch(r"net\.([1-4])\.blocks\.(\d+)\.net\.(\d)\.(.+)", name)
    if separius:
        layer, block, part, rest = separius.groups()
        kind, number = ("conv", int(part) // 2 + 1) if int(part) % 2 == 0 else ("bn", int(part) // 2 + 1)
        return f"layer{layer}.{block}.{kind}{number}.{rest.removeprefix('0.')}"
    separius = re.fullmatch(r"net\.([1-4])\.blocks\.0\.projection\.(shortcut|bn)\.(.+)", name)
    if separius:
        layer, part, rest = separius.groups()
        number = 0 if part == "shortcut" else 1
        return f"layer{layer}.0.downsample.{number}.{rest.removeprefix('0.')}"
    return re.sub(r"^bn1\.", "layer0.1.", re.sub(r"^conv1\.", "layer0.0.", name))
