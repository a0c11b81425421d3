"""The layouts of published weights: how their tensors are named, and what their networks expect to see.

Inside this package the trunk has the official LoopDA names: layer0.0 and layer0.1 are the stem's convolution and
normalisation, layer1 ... layer4 the rest; a Mix Transformer is `backbone`. Heads keep the names of their own layout.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from loopda.errors import DataError

BACKBONE = re.compile(r"layer[0-4]\.|backbone\.")


@dataclass(frozen=True)
class Layout:
    """A family of weights.

    normalisations: names in NORMALISATIONS of the input that the weights were trained with, the first, and of others
    that the literature feeds them on purpose. stride_in: the convolution of a bottleneck that carries the stride, ""
    of a transformer.
    network: what the whole network is called in the section `network`, "" where the weights are a backbone alone.
    """

    title: str
    normalisations: tuple[str, ...]
    stride_in: str
    network: str = ""


TORCHVISION = Layout("torchvision's ResNet", ("imagenet",), "conv2")
# LoopDA's student takes SimCLRv2's weights but sees caffe-rgb: bn_pretrain and batch statistics absorb the scale
PRODA = Layout("SimCLRv2's ResNet, ProDA's conversion", ("unit", "caffe-rgb"), "conv2")
SEPARIUS = Layout("SimCLRv2's ResNet, Separius' conversion", ("unit", "caffe-rgb"), "conv2")
# made for BGR minus mean; LoopDA and TridentAdapt divide by 128 besides, which batch statistics absorb
CAFFE = Layout("the caffe-style DeepLab initialisation", ("caffe-255", "caffe"), "conv1")
OFFICIAL = Layout("official LoopDA", ("caffe",), "conv1", "pspnet")
OFFICIAL_STUDENT = Layout("official LoopDA, distilled student", ("caffe-rgb",), "conv1", "pspnet")
MIT = Layout("SegFormer's Mix Transformer", ("imagenet",), "")
DEEPLAB = Layout("AdaptSegNet's and ADVENT's DeepLabV2", ("caffe-255",), "conv1", "deeplab")
OWN = "a checkpoint of this package"


def recognise(checkpoint: object, path: Path) -> tuple[Layout, dict[str, Tensor]]:
    """The layout of what `path` holds, and its tensors by the names of this package.

    Understood: a state dict, plain or under "state_dict", "resnet" or "model", with `module.` before its names or not.
    DataError when it is not a dictionary of tensors, or of none of the layouts.
    """
    outer = checkpoint
    if isinstance(outer, Mapping):
        for key in ("state_dict", "resnet", "model"):
            if isinstance(outer.get(key), Mapping):
                checkpoint = outer[key]
                break
    if not isinstance(checkpoint, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in checkpoint.items()
    ):
        raise DataError(f"{path}: not a dictionary of tensors; expected the state dict of a network")
    names = [name.removeprefix("module.") for name in checkpoint]
    layout = _layout(names, outer)
    if layout is None:
        shown = ", ".join(names[:5]) or "none"
        raise DataError(
            f"{path}: the names of its tensors ({shown} ...) are of no known layout: torchvision's ResNet, SimCLRv2 as "
            "ProDA or Separius convert it, the caffe-style DeepLab initialisation, SegFormer's Mix Transformer, "
            "LoopDA, AdaptSegNet, ADVENT"
        )
    return layout, {own_name(name): value for name, value in checkpoint.items()}


def _layout(names: list[str], outer: Mapping[str, Any]) -> Layout | None:
    def any_begins(*beginnings: str) -> bool:
        return any(name.startswith(beginnings) for name in names)

    section = outer.get("network")
    if isinstance(section, Mapping) and {"normalisation", "stride_in"} <= section.keys():
        bottlenecks = section.get("name") != "daformer"
        return Layout(OWN, (section["normalisation"],), section["stride_in"] if bottlenecks else "")
    if any_begins("layer0."):
        return OFFICIAL_STUDENT if any_begins("bn_pretrain.") else OFFICIAL
    if any_begins("patch_embed1.", "block1."):
        return MIT
    if any_begins("Scale."):
        return CAFFE
    if any_begins("net.0.", "net.1."):
        return SEPARIUS
    if any_begins("layer5.", "layer6."):
        return DEEPLAB
    if any_begins("conv1.", "bn1.", "layer1."):
        # torchvision publishes plain state dicts, and ImageNet trainings that nest theirs say which `arch` it is
        return PRODA if "state_dict" in outer and "arch" not in outer else TORCHVISION
    return None


def own_name(name: str) -> str:
    """A tensor's name in this package, from its name in any of the layouts."""
    name = name.removeprefix("module.").removeprefix("Scale.")
    if re.match(r"(patch_embed|block|norm)[1-4]\.", name):
        return f"backbone.{name}"
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
