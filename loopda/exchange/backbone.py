"""A network that starts from the backbone of a file of weights."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from loopda.errors import DataError
from loopda.exchange.loading import count_blocks, first_dimension, load_tensors, read_weights
from loopda.labels.classes import ClassList
from loopda.models.mit import ENCODERS
from loopda.models.segmenter import ENCODERS_OF, Network, Segmenter
from loopda.weights.layouts import BACKBONE, OWN, own_name
from loopda.weights.recognition import ImportedWeights

_RESNETS = {(3, 4, 6, 3): "ResNet-50, ", (3, 4, 23, 3): "ResNet-101, ", (3, 8, 36, 3): "ResNet-152, "}


def new_segmenter(
    network: Network,
    classes: ClassList,
    backbone: Path | None,
    *,
    bn_pretrain: bool = False,
    kept: str = "",
    say: Callable[[str], None],
) -> Segmenter:
    """A network with random heads and the backbone of the file `backbone`, or a random backbone where that is None.

    The network's input becomes what these weights expect, whatever the section says; `say` gets a line about it.

    kept: the domain ("day" or "night") whose statistics in the file the network keeps; "" for a network that normalises
    each batch by its own. Kept statistics are right only for the input and the `stride_in` with which they were
    measured, so the network gets both, even where the literature feeds these weights another input.
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
            f"{backbone}: {layout.title}, or a supervised training: the file does not say which input its statistics "
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


def load_backbone(network: nn.Module, weights: ImportedWeights) -> None:
    """Load the trunk of `network`, the stem and layer1 ... layer4 or the transformer; heads in `weights` are left out.

    One DataError says what is missing, unexpected or of another shape; nothing is then loaded.
    """
    hint = _difference(weights.tensors, {own_name(name): value for name, value in network.state_dict().items()})
    load_tensors(network, weights, BACKBONE, hint or "are blocks and width, or encoder, of the section network right?")


def _with_statistics(weights: ImportedWeights, domain: str) -> ImportedWeights:
    """`weights` with the running statistics of `domain`, where the file is a checkpoint of this package."""
    if weights.layout.title != OWN:
        return weights
    name = domain if domain in weights.statistics else "shared"
    if name not in weights.statistics:
        raise DataError(
            f"{weights.path}: has no {domain} statistics to keep; name a model that has been trained to its end"
        )
    statistics = {own_name(key): value for key, value in weights.statistics[name].items()}
    return replace(weights, tensors={**weights.tensors, **statistics})


def _difference(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """How the backbone of a file differs from that of the network, and the keys to change; "" where it does not."""
    found_encoder, wanted_encoder = _encoder(found), _encoder(wanted)
    if found_encoder or wanted_encoder:
        if found_encoder == wanted_encoder:
            return ""
        what = f"the file is of the encoder {found_encoder}" if found_encoder else "the file is of a ResNet"
        heads = [head for head, encoders in ENCODERS_OF.items() if (found_encoder or "resnet") in encoders]
        remedy = f"network.name {' or '.join(heads)} and network.encoder {found_encoder or 'resnet'}"
        return f"{what}, the network's is {wanted_encoder or 'a ResNet'}: set {remedy}, or name other weights"
    if "layer1.0.conv2.weight" in found and not any(".conv3." in name for name in found):
        return (
            "the file is of a ResNet of basic blocks, such as ResNet-18 or 34, the network has bottlenecks: name "
            "weights of ResNet-50, 101 or 152"
        )
    (blocks, width), (wanted_blocks, wanted_width) = _resnet(found), _resnet(wanted)
    if (blocks, width) == (wanted_blocks, wanted_width) or not width:
        return ""
    return (
        f"the file is of {_RESNETS.get(blocks, '')}blocks {list(blocks)} and width {width}, the section network of "
        f"{_RESNETS.get(wanted_blocks, '')}blocks {list(wanted_blocks)} and width {wanted_width}: set network.blocks "
        f"to {list(blocks)} and network.width to {width}, or name other weights"
    )


def _resnet(tensors: Mapping[str, Tensor]) -> tuple[tuple[int, ...], int]:
    """The blocks and the width of the ResNet that has these tensors; width 0 where there is no stem."""
    return tuple(count_blocks(tensors, layer) for layer in (1, 2, 3, 4)), first_dimension(tensors, "layer0.0.weight", 0)


def _encoder(tensors: Mapping[str, Tensor]) -> str:
    """The name of the encoder in `backbone` that has these tensors, "" where there is none."""
    if "backbone.conv_stem.weight" in tensors:
        return "efficientnet_lite0"
    if not any(name.startswith("backbone.block1.") for name in tensors):
        return ""
    dims = tuple(first_dimension(tensors, f"backbone.patch_embed{stage}.proj.weight", 0) for stage in (1, 2, 3, 4))
    depths = tuple(count_blocks(tensors, stage, "backbone.block") for stage in (1, 2, 3, 4))
    return next((name for name, size in ENCODERS.items() if size == (dims, depths)), f"of {depths} blocks, {dims} wide")
