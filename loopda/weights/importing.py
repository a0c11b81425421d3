"""Import of published weights: a backbone into a network of this package, or a whole segmentation network."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from loopda.errors import ConfigError, DataError
from loopda.labels.classes import ClassList
from loopda.models.deeplab import DILATIONS, INITIAL_DEVIATION
from loopda.models.mit import ENCODERS
from loopda.models.segmenter import Network, Segmenter, load_checkpoint, running_statistics
from loopda.weights.exchange import checkpoint_of, read_safetensors
from loopda.weights.layouts import BACKBONE, OWN, Layout, class_names, own_name, recognise

EXAMPLES = 5  # faults of one kind that a message shows
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# what a line of `faults` says of one tensor, and of many
_KINDS = {
    " is missing": "are missing",
    " has no place": "have no place in the network",
    ", the network has ": "have other shapes",
    "no plain numbers": "are no plain numbers",
    " not finite": "hold numbers that are not finite",
}


@dataclass(frozen=True)
class Weights:
    """The content of a weights file: its layout, and its tensors by this package's names (loopda.weights.layouts).

    notes: where in the file they lay, and what else it holds. statistics: of a checkpoint of this package, the running
    statistics of each domain. class_names: the classes in their order, where the file says them.
    """

    path: Path
    layout: Layout
    tensors: Mapping[str, Tensor]
    notes: tuple[str, ...] = ()
    statistics: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()


def read_weights(path: Path) -> Weights:
    """Read a weights file (safetensors by its suffix, else torch's) without running code in it.

    DataError when it is missing, damaged or of no known layout.
    """
    if path.suffix == ".safetensors":
        tensors, metadata = read_safetensors(path)
        content: object = checkpoint_of(tensors, metadata, path) or tensors
    else:
        content = load_checkpoint(path)
    found = recognise(content, path)
    own = found.layout.title == OWN
    return Weights(
        path,
        found.layout,
        found.tensors,
        found.notes,
        statistics=content.get("statistics", {}) if own else {},
        class_names=() if own else class_names(content),
    )


def new_segmenter(
    network: Network,
    classes: ClassList,
    backbone: Path | None,
    *,
    bn_pretrain: bool = False,
    kept: str = "",
    say: Callable[[str], None],
) -> Segmenter:
    """A network with random heads and the backbone of the file `backbone`, or a random one without.

    The network's input becomes what these weights expect, whatever the section says; `say` is told when that changes.

    kept: "" for a network to train, whose batches give the statistics of normalisation. For one that goes on with those
    of the file, the domain of which, where the file has several. Such statistics belong to the one input and the one
    network that they were taken of: then neither another input that the literature feeds these weights is possible, nor
    another `stride_in`.
    """
    if backbone is None:
        return Segmenter(network, classes, bn_pretrain=bn_pretrain)
    weights = read_weights(backbone)
    layout = weights.layout
    say(f"the backbone is imported from {backbone} (layout: {layout.title})")
    for note in weights.notes:
        say(note)
    if kept and layout.guessed:
        raise DataError(
            f"{backbone}: {layout.title}, or a supervised training: the file does not tell which input its statistics "
            "are of. Let the network normalise by each batch (statistics: batch), or save the state dict of a "
            "supervised training alone, not under 'state_dict'"
        )
    if network.normalisation not in layout.normalisations[: 1 if kept else None]:
        why = f"the statistics of these weights are of the input {layout.normalisations[0]}" if kept else ""
        why = why or f"these weights expect the input {layout.normalisations[0]}"
        say(f"{why}: it replaces {network.normalisation}")
        network = network.model_copy(update={"normalisation": layout.normalisations[0]})
    if layout.stride_in and network.stride_in != layout.stride_in:
        if kept:
            say(f"these weights come from a network with stride_in {layout.stride_in}, and so is this one")
            network = network.model_copy(update={"stride_in": layout.stride_in})
        else:
            say(
                f"these weights come from a network with stride_in {layout.stride_in}, network.stride_in is "
                f"{network.stride_in}: they load, but layer2 sees its input slightly shifted"
            )
    segmenter = Segmenter(network, classes, bn_pretrain=bn_pretrain)
    load_backbone(segmenter.network, _with_statistics(weights, kept) if kept else weights)
    return segmenter


def _with_statistics(weights: Weights, domain: str) -> Weights:
    """`weights`, of which a checkpoint of this package has the running statistics of `domain`."""
    if weights.layout.title != OWN:
        return weights
    name = domain if domain in weights.statistics else "shared"
    if name not in weights.statistics:
        raise DataError(
            f"{weights.path}: has no {domain} statistics to keep; name a model that has been trained to its end"
        )
    statistics = {own_name(key): value for key, value in weights.statistics[name].items()}
    return replace(weights, tensors={**weights.tensors, **statistics})


def load_backbone(network: nn.Module, weights: Weights) -> None:
    """Load the trunk of `network`, the stem and layer1 ... layer4 or the transformer; heads in `weights` are left out.

    One DataError says what is missing, unexpected or of another shape; nothing is then loaded.
    """
    hint = _other_trunk(weights.tensors, {own_name(name): value for name, value in network.state_dict().items()})
    _load(network, weights, BACKBONE, hint or "are blocks and width, or encoder, of the section network right?")


def foreign_segmenter(weights: Weights, classes: ClassList, *, aspp_branches: int = 0) -> Segmenter:
    """The segmentation network of a foreign checkpoint, ready to be evaluated, on its own input and statistics.

    Blocks, widths, levels and the number of classes are read off the tensors. aspp_branches: see
    loopda.models.deeplab; 0 takes what the tensors tell (`branches_told`). ConfigError where they do not, or tell
    another number. DataError when the file is no whole network, does not fit `classes`, or any tensor is missing,
    unexpected or of another shape.
    """
    path, layout = weights.path, weights.layout
    if layout.title == OWN:
        raise DataError(f"{path}: {layout.title} already; evaluate it as it is")
    if not layout.network:
        raise DataError(
            f"{path}: {layout.title} is a backbone without segmentation heads; it can initialise a network "
            "(pretrain.weights, simclr.weights), but there is nothing to evaluate"
        )
    _same_classes(weights, classes)
    levels = 2
    if layout.network == "deeplab":
        aspp_branches = _branches(weights, aspp_branches)
        weights, levels = _level_by_level(weights)
    tensors = weights.tensors
    try:
        section = Network(
            name=layout.network,
            blocks=tuple(_blocks(tensors, layer) for layer in (1, 2, 3, 4)),
            width=_length(tensors, "layer0.0.weight", 64),
            head_channels=_length(tensors, "final1.0.weight", 512),
            stride_in=layout.stride_in,
            output_stride=8,
            dropout=0.1,
            aspp_branches=aspp_branches or 4,
            levels=levels,
            freeze_affine=True,
            initialisation="normal",
            normalisation=layout.normalisations[0],
            statistics="shared",  # these files hold one running average for all images
        )
    except ValidationError as error:
        raise DataError(f"{path}: no network of this package has these widths: {error.errors()[0]['msg']}") from None
    student = any(name.startswith("bn_pretrain.") for name in tensors)
    segmenter = Segmenter(section, classes, bn_pretrain=student)
    _load(segmenter.network, weights, re.compile(""), f"it is not a whole network of {layout.title}")
    segmenter.statistics = {"shared": running_statistics(segmenter)}
    return segmenter


def branches_told(tensors: Mapping[str, Tensor]) -> int:
    """How many branches of its classifiers a DeepLab sums, where its tensors tell, else 0.

    A network of one classifier that is called layer6 is of ADVENT's code, which sums four. Branches that are not summed
    are never trained: where the last two still hold the numbers of their initialisation and the first two do not, the
    network sums two.
    """
    classifiers = [layer for layer in ("layer5", "layer6") if f"{layer}.conv2d_list.0.weight" in tensors]
    if classifiers == ["layer6"]:
        return 4
    weights = [
        [tensors.get(f"{layer}.conv2d_list.{branch}.weight") for branch in range(len(DILATIONS))]
        for layer in classifiers
    ]
    if not weights or any(weight is None for branches in weights for weight in branches):
        return 0
    untouched = [[_untouched(weight) for weight in branches] for branches in weights]
    return 2 if all(branches == [False, False, True, True] for branches in untouched) else 0


def _untouched(weight: Tensor) -> bool:
    """Whether the numbers have mean, deviation and kurtosis of the normal distribution that classifiers begin with, all
    within five standard errors. Training for an epoch moves the deviation by more than such an error, of 0.2 %."""
    numbers = weight.double().flatten() / INITIAL_DEVIATION
    count = numbers.numel()
    mean, variance = numbers.mean(), numbers.var()
    kurtosis = (numbers - mean).pow(4).mean() / variance.square()
    errors = (mean * count**0.5, (variance.sqrt() - 1) * (2 * count) ** 0.5, (kurtosis - 3) * (count / 24) ** 0.5)
    return all(abs(float(error)) < 5 for error in errors)


def _branches(weights: Weights, stated: int) -> int:
    told = branches_told(weights.tensors)
    key = "convert.aspp_branches (--aspp-branches)"
    if not (stated or told):
        raise ConfigError(
            f"{weights.path}: the file does not tell how many of the four branches of its classifiers are summed: set "
            f"{key} to 2 for networks of AdaptSegNet's code, to 4 for ADVENT's, BDL's and others that sum all. With "
            "the wrong number a third of the labels are others"
        )
    if stated == 4 and told == 2:
        raise ConfigError(
            f"{weights.path}: {key} is 4, but two of the four branches of its classifiers were never trained: set it "
            "to 2, as for networks of AdaptSegNet's code"
        )
    return stated or told


def _level_by_level(weights: Weights) -> tuple[Weights, int]:
    """A DeepLab with its classifier on layer4 as layer6, and the number of its classifiers.

    Single-level networks have one: ADVENT calls it layer6, AdaptSegNet and BDL layer5, which elsewhere is on layer3.
    """
    tensors = weights.tensors
    has = {layer: f"{layer}.conv2d_list.0.weight" in tensors for layer in ("layer5", "layer6")}
    if all(has.values()) or not any(has.values()):
        return weights, 2
    if has["layer5"]:
        seen, top = tensors["layer5.conv2d_list.0.weight"], tensors.get("layer4.0.conv3.weight")
        if top is None or seen.ndim != 4 or seen.shape[1] != len(top):
            return weights, 2  # and layer6 is missing
        tensors = {re.sub("^layer5", "layer6", name): value for name, value in tensors.items()}
    return replace(weights, tensors=tensors), 1


def _same_classes(weights: Weights, classes: ClassList) -> None:
    last = {"pspnet": "final2.1.weight", "deeplab": "layer6.conv2d_list.0.weight"}[weights.layout.network]
    last = last if last in weights.tensors else "layer5.conv2d_list.0.weight"
    found = _length(weights.tensors, last, len(classes))
    if found != len(classes):
        raise DataError(
            f"{weights.path}: a network of {found} classes, but the class list has {len(classes)}; give --classes the "
            "list that it was trained with, as the stage prepare writes it"
        )
    theirs, ours = ([re.sub(r"[\W_]+", " ", name.lower()) for name in n] for n in (weights.class_names, classes.names))
    if theirs != ours and sorted(theirs) == sorted(ours):
        place = next(index for index, name in enumerate(ours) if theirs[index] != name)
        raise DataError(
            f"{weights.path}: its classes have another order than the class list: number {place} is {theirs[place]} "
            f"there and {ours[place]} here; give --classes a list in its order"
        )


def faults(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """What keeps the tensors `found` from being those of `wanted`: one line for each that is missing, unexpected, of
    another shape, not plain numbers, or not finite. The counters of batch normalisations may be missing: old files and
    conversions have none, and nothing here reads them."""
    lines = []
    for name, value in wanted.items():
        if name not in found:
            if not name.endswith("num_batches_tracked"):
                lines.append(f"{name} is missing")
        elif found[name].shape != value.shape:
            lines.append(f"{name} is {tuple(found[name].shape)}, the network has {tuple(value.shape)}")
        elif found[name].layout != torch.strided:
            lines.append(f"{name} holds {found[name].layout}, no plain numbers (sparse?)")
        elif value.is_floating_point() and (found[name].dtype not in _FLOATS or found[name].is_meta):
            lines.append(f"{name} holds {found[name].dtype} on {found[name].device}, no plain numbers (quantised?)")
        elif not found[name].isfinite().all():
            lines.append(f"{name} holds numbers that are not finite")
    return lines + [f"{name} has no place in the network" for name in found if name not in wanted]


def listed(lines: Sequence[str]) -> str:
    """The lines of `faults`, the first few of each kind, and how many there are."""
    shown, counts = [], Counter()
    for line in lines:
        kind = next((kind for kind in _KINDS if kind in line), "")
        counts[kind] += 1
        if counts[kind] <= EXAMPLES:
            shown.append(f"  {line}")
    shown += [f"  and {count - EXAMPLES} more {_KINDS[kind]}" for kind, count in counts.items() if count > EXAMPLES]
    return "\n".join([*shown, f"{len(lines)} fault{'s' * (len(lines) != 1)} in all"])


def _load(network: nn.Module, weights: Weights, part: re.Pattern[str], hint: str) -> None:
    """Load the tensors whose name in this package begins with `part`, all of them or none."""
    places = {own_name(name): name for name in network.state_dict()}
    wanted = {own_name(name): value for name, value in network.state_dict().items() if part.match(own_name(name))}
    found = {name: value for name, value in weights.tensors.items() if part.match(name)}
    lines = faults(found, wanted)
    if lines:
        raise DataError(f"{weights.path}: these weights do not fit the network: {hint}\n{listed(lines)}")
    network.load_state_dict({places[name]: value for name, value in found.items()}, strict=False)


def _other_trunk(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """In which way one backbone is none like the other, and the keys that mend it; "" where they are alike."""
    theirs, ours = _encoder(found), _encoder(wanted)
    if theirs or ours:
        if theirs == ours:
            return ""
        told = f"the file is of the encoder {theirs}" if theirs else "the file is of a ResNet"
        remedy = f"network.name daformer and network.encoder {theirs}" if theirs else "network.name pspnet or deeplab"
        return f"{told}, the network's is {ours or 'a ResNet'}: set {remedy}, or name other weights"
    if "layer1.0.conv2.weight" in found and not any(".conv3." in name for name in found):
        return (
            "the file is of a ResNet of basic blocks, such as ResNet-18 or 34, the network has bottlenecks: name "
            "weights of ResNet-50, 101 or 152"
        )
    shapes = [
        (tuple(_blocks(of, n) for n in (1, 2, 3, 4)), _length(of, "layer0.0.weight", 0)) for of in (found, wanted)
    ]
    if shapes[0] == shapes[1] or not shapes[0][1]:
        return ""
    (blocks, width), (own_blocks, own_width) = shapes
    return (
        f"the file is of {_resnet(blocks, width)}, the section network of {_resnet(own_blocks, own_width)}: set "
        f"network.blocks to {list(blocks)} and network.width to {width}, or name other weights"
    )


def _resnet(blocks: tuple[int, ...], width: int) -> str:
    known = {(3, 4, 6, 3): "ResNet-50, ", (3, 4, 23, 3): "ResNet-101, ", (3, 8, 36, 3): "ResNet-152, "}
    return f"{known.get(blocks, '')}blocks {list(blocks)} and width {width}"


def _encoder(tensors: Mapping[str, Tensor]) -> str:
    """The name of the Mix Transformer that has these tensors, "" where there is none."""
    if not any(name.startswith("backbone.block1.") for name in tensors):
        return ""
    dims = tuple(_length(tensors, f"backbone.patch_embed{stage}.proj.weight", 0) for stage in (1, 2, 3, 4))
    depths = tuple(_blocks(tensors, stage, "backbone.block") for stage in (1, 2, 3, 4))
    return next((name for name, size in ENCODERS.items() if size == (dims, depths)), f"of {depths} blocks, {dims} wide")


def _length(tensors: Mapping[str, Tensor], name: str, otherwise: int) -> int:
    """The first dimension of a tensor; `otherwise` where it is missing, which loading then reports."""
    return tensors[name].shape[0] if name in tensors and tensors[name].ndim else otherwise


def _blocks(tensors: Mapping[str, Tensor], layer: int, kind: str = "layer") -> int:
    numbers = [re.match(rf"{kind}{layer}\.(\d+)\.", name) for name in tensors]
    return max(len({number[1] for number in numbers if number}), 1)
