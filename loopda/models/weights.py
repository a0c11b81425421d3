"""Import of backbone weights by name: torchvision's ResNet, SimCLRv2 conversions, and this package's own layout."""

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from loopda.errors import DataError
from loopda.models.segmenter import load_checkpoint

BACKBONE = re.compile(r"layer[0-4]\.")


def load_backbone(network: nn.Module, path: Path) -> None:
    """Load layer0 ... layer4 of `network` from `path`.

    Understood: a plain state dict or {"state_dict": ...} or {"resnet": ...}, with the names of torchvision (conv1, bn1,
    layer1 ...; ProDA's `r101_1x_sk0.pth` too), of Separius' SimCLRv2 conversion (net.0.0 ...), of the caffe-style
    DeepLab initialisation (`Scale.` before torchvision's names), or of this package. Heads in the file are left out.
    DataError lists every backbone tensor that is missing or has another shape; nothing is then loaded.
    """
    found = {}
    for name, value in _plain(load_checkpoint(path), path).items():
        name = official_name(name)
        if BACKBONE.match(name):
            found[name] = value
    wanted = {name: value for name, value in network.state_dict().items() if BACKBONE.match(name)}
    faults = []
    for name, value in wanted.items():
        if name.endswith("num_batches_tracked"):
            found.setdefault(name, value)
        elif name not in found:
            faults.append(f"{name} is missing")
        elif found[name].shape != value.shape:
            faults.append(f"{name} is {tuple(found[name].shape)}, the network has {tuple(value.shape)}")
    faults += [f"{name} has no place in the network" for name in found if name not in wanted]
    if faults:
        shown = "\n".join(f"  {fault}" for fault in faults[:12])
        more = f"\n  and {len(faults) - 12} more" if len(faults) > 12 else ""
        raise DataError(
            f"{path}: these weights do not fit the network (blocks and width of the section network?):\n{shown}{more}"
        )
    network.load_state_dict(found, strict=False)


def official_name(name: str) -> str:
    """A backbone tensor's name in this package, from its name in any of the conversions above."""
    name = name.removeprefix("module.").removeprefix("Scale.")
    separius = re.fullmatch(r"net\.0\.0\.(.+)", name)
    if separius:
        return f"layer0.0.{separius[1]}"
    separius = re.fullmatch(r"net\.0\.1\.0\.(.+)", name)
    if separius:
        return f"layer0.1.{separius[1]}"
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


def _plain(checkpoint: object, path: Path) -> Mapping[str, Tensor]:
    for key in ("state_dict", "resnet", "model"):
        if isinstance(checkpoint, Mapping) and isinstance(checkpoint.get(key), Mapping):
            checkpoint = checkpoint[key]
    if not isinstance(checkpoint, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in checkpoint.items()
    ):
        raise DataError(f"{path}: not a dictionary of tensors; expected a state dict of a ResNet")
    return checkpoint
