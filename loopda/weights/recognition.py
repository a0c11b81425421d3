"""Finding the network in the content of a file of weights, and its layout."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from loopda.errors import DataError
from loopda.weights.layouts import OWN, TensorLayout, layout_of, own_name

# prefixes that wrappers add to the names of tensors: torch.compile, DataParallel, FSDP, recomputation
_WRAPPERS = re.compile(r"(^|\.)(?:(?:_orig_mod|module|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.)+")
# words in the keys of a file under which the average, the teacher or another copy of a network lies
_COPIES = {"ema", "averaged", "average", "avg", "swa", "teacher", "imnet", "momentum", "k"}
# well-known networks that this package does not have: how the names of their tensors begin, and what they are
_OTHER_NETWORKS = (
    (("features",), "VGG or AlexNet of torchvision (loops.decoders.lpips_weights takes these), or a network on them"),
    (("lin0",), "the linear weights of LPIPS, which come with its package"),
    (("layer1", "layer8"), "a dilated residual network (DRN), as CyCADA's"),
    (("cls_token",), "a plain vision transformer"),
    (("layer1", "conv3"), "a ResNet whose stem is three convolutions (DANNet's PSPNet), where ours is one of 7x7"),
)


@dataclass(frozen=True)
class ImportedWeights:
    """The network in a file of weights: its layout, and its tensors by this package's names (loopda.weights.layouts).

    notes: where in the file it lay, and what else the file holds. statistics: of a checkpoint of this package, the
    running statistics of each domain. class_names: the classes in their order, where the file of others says them.
    """

    path: Path
    layout: TensorLayout
    tensors: Mapping[str, Tensor]
    notes: tuple[str, ...] = ()
    statistics: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()


def recognise(checkpoint: object, path: Path) -> ImportedWeights:
    """The network in `checkpoint`, the content of the file `path`.

    A state dict is understood, plain or in dictionaries of any names; its tensors may have the prefixes that
    torch.compile, DataParallel and modules around a network add. Of a network and its average or teacher the network is
    taken. DataError when no network has a known layout, or when there are several and nothing says which one is meant.
    """
    if isinstance(checkpoint, Mapping) and _is_own(checkpoint):
        section = checkpoint["network"]
        bottlenecks = section.get("name") != "daformer"
        layout = TensorLayout(OWN, (section["normalisation"],), section["stride_in"] if bottlenecks else "")
        tensors = {own_name(name): value for name, value in checkpoint["model"].items()}
        return ImportedWeights(path, layout, tensors, statistics=checkpoint.get("statistics", {}))
    other = _other_than_a_network(checkpoint)
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
    first, *others = sorted(known, key=_is_copy)
    if others and _is_copy(others[0]) == _is_copy(first):
        raise DataError(
            f"{path}: holds several networks ({', '.join(map(repr, known))}), and nothing says which one is meant: "
            "save the tensors of that one alone, by torch.save"
        )
    layout, tensors = known[first]
    notes = [f"it is taken from {first!r} in the file"] if first else []
    if others:
        notes.append(f"other networks in the file are left: {', '.join(map(repr, others))}")
    tensors = {own_name(name): value for name, value in tensors.items()}
    return ImportedWeights(path, layout, tensors, tuple(notes), class_names=_class_names(checkpoint))


def only_state_dict(checkpoint: object) -> dict[str, Tensor] | None:
    """The dictionary of tensors in `checkpoint`, without the prefixes of wrappers; None unless there is exactly one."""
    states = list(_state_dicts(checkpoint))
    return {_WRAPPERS.sub(r"\1", name): value for name, value in states[0][1].items()} if len(states) == 1 else None


def _is_copy(place: str) -> bool:
    return not _COPIES.isdisjoint(re.split(r"[._]", place.lower()))


def _class_names(checkpoint: object) -> tuple[str, ...]:
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


def _other_than_a_network(checkpoint: object) -> str:
    """What a file of tensors holds instead of a network, or "" where it may hold a network."""
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
    """Every dictionary of tensors in nested dictionaries, after the keys that lead to it, joined by dots."""
    if not isinstance(content, Mapping) or depth > 4 or {"state", "param_groups"} <= content.keys():
        return
    tensors = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if tensors:
        yield place, tensors
    for key, value in content.items():
        yield from _state_dicts(value, f"{place}.{key}".lstrip("."), depth + 1)


def _known_networks(
    state: Mapping[str, Tensor], place: str, checkpoint: Any, path: Path
) -> dict[str, tuple[TensorLayout, dict[str, Tensor]]]:
    """The networks of known layouts in one state dict, by the keys and prefixes that lead to them."""
    # n_averaged is the counter of an averaged model (torch.optim.swa_utils), not a weight
    tensors = {_WRAPPERS.sub(r"\1", name): value for name, value in state.items() if name != "n_averaged"}
    if len(tensors) < len(state) - ("n_averaged" in state):
        raise DataError(f"{path}: several tensors have one name, but for the prefixes of wrappers: save the model anew")
    known: dict[str, tuple[TensorLayout, dict[str, Tensor]]] = {}

    def look(tensors: Mapping[str, Tensor], place: str, depth: int) -> None:
        layout = layout_of(list(tensors), checkpoint if place == "state_dict" else None)
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
    for beginnings, what in _OTHER_NETWORKS:
        if all(any(re.match(rf"(\w+\.)?{begin}(\.|$)", name) for name in names) for begin in beginnings):
            return f"{path}: by the names of its tensors ({', '.join(names[:3])} ...) {what}: not a layout that is read"
    return (
        f"{path}: the names of its tensors ({', '.join(names[:5])} ...) are of no known layout: torchvision's ResNet, "
        "SimCLRv2 as ProDA or Separius convert it, the caffe-style DeepLab initialisation, SegFormer's Mix "
        "Transformer, LoopDA, AdaptSegNet, ADVENT"
    )
