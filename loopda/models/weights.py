"""Import of published weights: a backbone into a network of this package, or a whole segmentation network."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from torch import Tensor, nn

from loopda.errors import DataError
from loopda.labels.classes import ClassList
from loopda.models.exchange import read_safetensors
from loopda.models.layouts import BACKBONE, OWN, Layout, own_name, recognise
from loopda.models.segmenter import Network, Segmenter, load_checkpoint, running_statistics


@dataclass(frozen=True)
class Weights:
    """The content of a weights file: its layout, and its tensors by this package's names (loopda.models.layouts)."""

    path: Path
    layout: Layout
    tensors: Mapping[str, Tensor]


def read_weights(path: Path) -> Weights:
    """Read a weights file (safetensors by its suffix, else torch's) without running code in it.

    DataError when it is missing, damaged or of no known layout.
    """
    content = read_safetensors(path)[0] if path.suffix == ".safetensors" else load_checkpoint(path)
    return Weights(path, *recognise(content, path))


def new_segmenter(
    network: Network,
    classes: ClassList,
    backbone: Path | None,
    *,
    bn_pretrain: bool = False,
    say: Callable[[str], None],
) -> Segmenter:
    """A network to train, with random heads and the backbone of the file `backbone`, or a random one without.

    The network's input becomes what these weights expect, whatever the section says; `say` is told when that changes.
    """
    if backbone is None:
        return Segmenter(network, classes, bn_pretrain=bn_pretrain)
    weights = read_weights(backbone)
    layout = weights.layout
    say(f"the backbone is imported from {backbone} (layout: {layout.title})")
    if network.normalisation not in layout.normalisations:
        say(f"these weights expect the input {layout.normalisations[0]}: it replaces {network.normalisation}")
        network = network.model_copy(update={"normalisation": layout.normalisations[0]})
    if layout.stride_in and network.stride_in != layout.stride_in:
        say(
            f"these weights come from a network with stride_in {layout.stride_in}, network.stride_in is "
            f"{network.stride_in}: they load, but layer2 sees its input slightly shifted"
        )
    segmenter = Segmenter(network, classes, bn_pretrain=bn_pretrain)
    load_backbone(segmenter.network, weights)
    return segmenter


def load_backbone(network: nn.Module, weights: Weights) -> None:
    """Load the trunk of `network`, the stem and layer1 ... layer4 or the transformer; heads in `weights` are left out.

    One DataError lists every tensor that is missing, unexpected or of another shape; nothing is then loaded.
    """
    _load(network, weights, BACKBONE, "blocks and width, or encoder, of the section network?")


def foreign_segmenter(weights: Weights, classes: ClassList, *, aspp_branches: int) -> Segmenter:
    """The segmentation network of a foreign checkpoint, ready to be evaluated, on its own input and statistics.

    Blocks, widths and the number of classes are read off the tensors. aspp_branches: see loopda.models.deeplab.
    DataError when the file is no whole network, does not fit `classes`, or any tensor is missing, unexpected or of
    another shape.
    """
    path, layout, tensors = weights.path, weights.layout, weights.tensors
    if layout.title == OWN:
        raise DataError(f"{path}: {layout.title} already; evaluate it as it is")
    if not layout.network:
        raise DataError(
            f"{path}: {layout.title} is a backbone without segmentation heads; it can initialise a network "
            "(pretrain.weights, simclr.weights), but there is nothing to evaluate"
        )
    last = {"pspnet": "final2.1.weight", "deeplab": "layer6.conv2d_list.0.weight"}[layout.network]
    found = _length(tensors, last, len(classes))
    if found != len(classes):
        raise DataError(f"{path}: a network of {found} classes, but the class list has {len(classes)}")
    try:
        section = Network(
            name=layout.network,
            blocks=tuple(_blocks(tensors, layer) for layer in (1, 2, 3, 4)),
            width=_length(tensors, "layer0.0.weight", 64),
            head_channels=_length(tensors, "final1.0.weight", 512),
            stride_in=layout.stride_in,
            output_stride=8,
            dropout=0.1,
            aspp_branches=aspp_branches,
            freeze_affine=True,
            initialisation="normal",
            normalisation=layout.normalisations[0],
            statistics="shared",  # these files hold one running average for all images
        )
    except ValidationError as error:
        raise DataError(f"{path}: no network of this package has these widths: {error.errors()[0]['msg']}") from None
    student = any(name.startswith("bn_pretrain.") for name in tensors)
    segmenter = Segmenter(section, classes, bn_pretrain=student)
    _load(segmenter.network, weights, re.compile(""), f"not a whole network of {layout.title}?")
    segmenter.statistics = {"shared": running_statistics(segmenter)}
    return segmenter


def faults(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """What keeps the tensors `found` from being those of `wanted`: one line for each that is missing, unexpected, of
    another shape, or not finite. The counters of batch normalisations may be missing: old files and conversions have
    none, and nothing here reads them."""
    lines = []
    for name, value in wanted.items():
        if name not in found:
            if not name.endswith("num_batches_tracked"):
                lines.append(f"{name} is missing")
        elif found[name].shape != value.shape:
            lines.append(f"{name} is {tuple(found[name].shape)}, the network has {tuple(value.shape)}")
        elif not found[name].isfinite().all():
            lines.append(f"{name} holds numbers that are not finite")
    return lines + [f"{name} has no place in the network" for name in found if name not in wanted]


def _load(network: nn.Module, weights: Weights, part: re.Pattern[str], hint: str) -> None:
    """Load the tensors whose name in this package begins with `part`, all of them or none."""
    places = {own_name(name): name for name in network.state_dict()}
    wanted = {own_name(name): value for name, value in network.state_dict().items() if part.match(own_name(name))}
    found = {name: value for name, value in weights.tensors.items() if part.match(name)}
    lines = faults(found, wanted)
    if lines:
        listed = "\n".join(f"  {line}" for line in lines)
        raise DataError(
            f"{weights.path}: these weights do not fit the network:\n{listed}\n{len(lines)} faults in all ({hint})"
        )
    network.load_state_dict({places[name]: value for name, value in found.items()}, strict=False)


def _length(tensors: Mapping[str, Tensor], name: str, otherwise: int) -> int:
    """The first dimension of a tensor; `otherwise` where it is missing, which loading then reports."""
    return tensors[name].shape[0] if name in tensors and tensors[name].ndim else otherwise


def _blocks(tensors: Mapping[str, Tensor], layer: int) -> int:
    numbers = [re.match(rf"layer{layer}\.(\d+)\.", name) for name in tensors]
    return max(len({number[1] for number in numbers if number}), 1)
