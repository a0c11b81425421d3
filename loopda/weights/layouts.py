"""The layouts of published weights: how their tensors are named, and what their networks expect to see.

Inside this package the trunk has the official LoopDA names: layer0.0 and layer0.1 are the stem's convolution and
normalisation, layer1 ... layer4 the rest; a Mix Transformer is `backbone`. Heads keep the names of their own layout.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from loopda.errors import DataError

BACKBONE = re.compile(r"layer[0-4]\.|backbone\.")


@dataclass(frozen=True)
class Layout:
    """A family of weights.

    normalisations: names in NORMALISATIONS of the input that the weights were trained with, the first, and of others
    that the literature feeds them on purpose. stride_in: the convolution of a bottleneck that carries the stride, ""
    of a transformer.
    guessed: other trainings save theirs in the same way, with another input.
    network: what the whole network is called in the section `network`, "" where the weights are a backbone alone.
    """

    title: str
    normalisations: tuple[str, ...]
    stride_in: str
    network: str = ""
    guessed: bool = False


TORCHVISION = Layout("torchvision's ResNet", ("imagenet",), "conv2")
# LoopDA's student takes SimCLRv2's weights but sees caffe-rgb: bn_pretrain and batch statistics absorb the scale.
# Supervised trainings nest theirs like this too: where the configuration says imagenet, the file is one of them
PRODA = Layout("SimCLRv2's ResNet, ProDA's conversion", ("unit", "caffe-rgb", "imagenet"), "conv2", guessed=True)
SEPARIUS = Layout("SimCLRv2's ResNet, Separius' conversion", ("unit", "caffe-rgb"), "conv2")
# made for BGR minus mean; LoopDA and TridentAdapt divide by 128 besides, which batch statistics absorb
CAFFE = Layout("the caffe-style DeepLab initialisation", ("caffe-255", "caffe"), "conv1")
OFFICIAL = Layout("official LoopDA", ("caffe",), "conv1", "pspnet")
OFFICIAL_STUDENT = Layout("official LoopDA, distilled student", ("caffe-rgb",), "conv1", "pspnet")
MIT = Layout("SegFormer's Mix Transformer", ("imagenet",), "")
DEEPLAB = Layout("AdaptSegNet's and ADVENT's DeepLabV2", ("caffe-255",), "conv1", "deeplab")
OWN = "a checkpoint of this package"

# what wrappers put into tensors' names: torch.compile, DataParallel, FSDP, recomputation
_WRAPPERS = re.compile(r"(^|\.)(?:(?:_orig_mod|module|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.)+")
# words in a place of a file that say: a second network there, not the one that was trained and is published
_SECOND = {"ema", "averaged", "average", "avg", "swa", "teacher", "imnet", "momentum", "k"}
# networks that are known, and are none of this package: how names of their tensors begin, and what they are
_STRANGERS = (
    (("features",), "VGG or AlexNet of torchvision (loops.decoders.lpips_weights takes these), or a network on them"),
    (("lin0",), "the linear weights of LPIPS, which come with its package"),
    (("layer1", "layer8"), "a dilated residual network (DRN), as CyCADA's"),
    (("cls_token",), "a plain vision transformer"),
    (("layer1", "conv3"), "a ResNet whose stem is three convolutions (DANNet's PSPNet), where ours is one of 7x7"),
)


class Found(NamedTuple):
    """A network in a file. tensors: by the names of this package. notes: where it lay and what else the file holds."""

    layout: Layout
    tensors: dict[str, Tensor]
    notes: tuple[str, ...] = ()


def recognise(checkpoint: object, path: Path) -> Found:
    """The network in what `path` holds.

    Understood: a state dict, plain or in dictionaries of any names, the names of its tensors with what torch.compile,
    DataParallel and modules around a network put before them. Of several networks, the one that is no average or
    teacher of another. DataError when there is none of a known layout, or several that nothing tells apart.
    """
    if isinstance(checkpoint, Mapping) and _is_own(checkpoint):
        section = checkpoint["network"]
        bottlenecks = section.get("name") != "daformer"
        layout = Layout(OWN, (section["normalisation"],), section["stride_in"] if bottlenecks else "")
        return Found(layout, {own_name(name): value for name, value in checkpoint["model"].items()})
    other = _other_content(checkpoint)
    if other:
        raise DataError(f"{path}: {other}")
    states = dict(_state_dicts(checkpoint))
    if not states:
        raise DataError(f"{path}: not a dictionary of tensors; expected the state dict of a network")
    known = {}
    for place, state in states.items():
        known |= _known_networks(state, place, checkpoint, path)
    if not known:
        raise DataError(_unknown(states, path))
    first, *others = sorted(known, key=_is_second)
    if others and _is_second(others[0]) == _is_second(first):
        raise DataError(
            f"{path}: holds several networks ({', '.join(map(repr, known))}), and nothing says which one is meant: "
            "save the tensors of that one alone, by torch.save"
        )
    layout, tensors = known[first]
    notes = [f"it is taken from {first!r} in the file"] if first else []
    if others:
        notes.append(f"other networks in the file are left: {', '.join(map(repr, others))}")
    return Found(layout, {own_name(name): value for name, value in tensors.items()}, tuple(notes))


def only_state_dict(checkpoint: object) -> dict[str, Tensor] | None:
    """The one dictionary of tensors in `checkpoint`, without the prefixes of wrappers; None where there is not one."""
    states = list(_state_dicts(checkpoint))
    return {_WRAPPERS.sub(r"\1", name): value for name, value in states[0][1].items()} if len(states) == 1 else None


def _is_second(place: str) -> bool:
    return not _SECOND.isdisjoint(re.split(r"[._]", place.lower()))


def class_names(checkpoint: object) -> tuple[str, ...]:
    """The classes in their order, where a checkpoint of others says them (mmsegmentation's `meta` does), else none."""
    for place in (checkpoint, checkpoint.get("meta")) if isinstance(checkpoint, Mapping) else ():
        for key in ("CLASSES", "classes", "class_names") if isinstance(place, Mapping) else ():
            names = place.get(key)
            if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
                return tuple(names)
    return ()


def _is_own(checkpoint: Mapping[Any, Any]) -> bool:
    section = checkpoint.get("network")
    return (
        isinstance(section, Mapping)
        and {"normalisation", "stride_in"} <= section.keys()
        and isinstance(checkpoint.get("model"), Mapping)
    )


def _other_content(checkpoint: object) -> str:
    """What a file of tensors holds instead of a network, or "" where it may hold one."""
    if not isinstance(checkpoint, Mapping):
        return ""
    if isinstance(checkpoint.get("guard"), Mapping):
        return "the progress of an unfinished training of this package; let the stage end, and take its model.pt"
    if isinstance(checkpoint.get("loops"), Mapping) and "network" not in checkpoint:
        return "the decoders of LoopDA's loops; the network is the model.pt beside it"
    if isinstance(checkpoint.get("generators"), Mapping) and "network" not in checkpoint:
        return "the generators of the stage translate, not a segmentation network"
    if {"state", "param_groups"} <= checkpoint.keys():
        return "the state of an optimiser, not a network; name the file of the model beside it"
    return ""


def _state_dicts(content: object, place: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every dictionary of tensors in nested dictionaries, by the keys that lead to it, joined by dots."""
    if not isinstance(content, Mapping) or depth > 4 or {"state", "param_groups"} <= content.keys():
        return
    tensors = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if tensors:
        yield place, tensors
    for key, value in content.items():
        yield from _state_dicts(value, f"{place}.{key}".lstrip("."), depth + 1)


def _known_networks(
    state: Mapping[str, Tensor], place: str, checkpoint: Any, path: Path
) -> dict[str, tuple[Layout, dict[str, Tensor]]]:
    """The networks of known layouts in one state dict, by place: it may hold several, under prefixes of names."""
    # the counter of an averaged model is no weight
    tensors = {_WRAPPERS.sub(r"\1", name): value for name, value in state.items() if name != "n_averaged"}
    if len(tensors) < len(state) - ("n_averaged" in state):
        raise DataError(f"{path}: several tensors have one name, but for the prefixes of wrappers: save the model anew")
    known: dict[str, tuple[Layout, dict[str, Tensor]]] = {}

    def look(tensors: Mapping[str, Tensor], place: str, depth: int) -> None:
        layout = _layout(list(tensors), checkpoint if place == "state_dict" else None)
        if layout is not None:
            known[place] = (layout, dict(tensors))
            return
        groups: dict[str, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            prefix, _, rest = name.partition(".")
            groups.setdefault(prefix, {})[rest] = value
        for prefix, group in groups.items() if depth < 4 else ():
            look(group, f"{place}.{prefix}".lstrip("."), depth + 1)

    look(tensors, place, 0)
    return known


def _unknown(states: Mapping[str, Mapping[str, Tensor]], path: Path) -> str:
    names = [name for state in states.values() for name in state]
    for beginnings, what in _STRANGERS:
        if all(any(re.match(rf"(\w+\.)?{begin}(\.|$)", name) for name in names) for begin in beginnings):
            return f"{path}: by the names of its tensors ({', '.join(names[:3])} ...) {what}: not a layout that is read"
    return (
        f"{path}: the names of its tensors ({', '.join(names[:5])} ...) are of no known layout: torchvision's ResNet, "
        "SimCLRv2 as ProDA or Separius convert it, the caffe-style DeepLab initialisation, SegFormer's Mix "
        "Transformer, LoopDA, AdaptSegNet, ADVENT"
    )


def _layout(names: list[str], nested: Mapping[str, Any] | None) -> Layout | None:
    """The layout of tensors of these names; nested: the dictionary that holds them under "state_dict", if one does."""

    def any_begins(*beginnings: str) -> bool:
        return any(name.startswith(beginnings) for name in names)

    if any_begins("layer7.", "layer8."):
        return None
    if any_begins("layer0."):
        return OFFICIAL_STUDENT if any_begins("bn_pretrain.") else OFFICIAL
    if any_begins("patch_embed1.", "block1."):
        return MIT
    if any_begins("Scale."):
        return CAFFE
    if any_begins("net.0.0.", "net.1.blocks."):
        return SEPARIUS
    if any_begins("layer5.conv2d_list.", "layer6.conv2d_list."):
        return DEEPLAB
    if any_begins("layer1.") and any_begins("layer4.") and not any_begins("conv3."):
        # torchvision publishes plain state dicts, and ImageNet trainings that nest theirs say which `arch` it is, or
        # keep their optimiser
        return TORCHVISION if nested is None or {"arch", "optimizer"} & nested.keys() else PRODA
    return None


def own_name(name: str) -> str:
    """A tensor's name in this package, from its name in any of the layouts."""
    name = name.removeprefix("Scale.")
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
