"""Reading a file of weights, and loading its tensors into a network."""

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from loopda.errors import DataError
from loopda.models.checkpoint import load_checkpoint
from loopda.weights.layouts import own_name
from loopda.weights.mismatches import abridged, mismatches
from loopda.weights.recognition import ImportedWeights, recognise
from loopda.weights.safetensors_files import checkpoint_of, read_safetensors


def read_weights(path: Path) -> ImportedWeights:
    """Read a weights file (safetensors by its suffix, else torch's) without running code in it.

    DataError when it is missing, damaged or of no known layout.
    """
    if path.suffix == ".safetensors":
        tensors, metadata = read_safetensors(path)
        return recognise(checkpoint_of(tensors, metadata, path) or tensors, path)
    return recognise(load_checkpoint(path), path)


def load_tensors(network: nn.Module, weights: ImportedWeights, part: re.Pattern[str], hint: str) -> None:
    """Load the tensors whose name in this package begins with `part`, all of them or none.

    DataError lists the tensors that do not fit, after `hint`.
    """
    network_names = {own_name(name): name for name in network.state_dict()}
    wanted = {own_name(name): value for name, value in network.state_dict().items() if part.match(own_name(name))}
    found = {name: value for name, value in weights.tensors.items() if part.match(name)}
    lines = mismatches(found, wanted)
    if lines:
        raise DataError(f"{weights.path}: these weights do not fit the network: {hint}\n{abridged(lines)}")
    network.load_state_dict({network_names[name]: value for name, value in found.items()}, strict=False)


def first_dimension(tensors: Mapping[str, Tensor], name: str, default: int) -> int:
    """The first dimension of the tensor `name`; `default` where it is missing, which `load_tensors` then reports."""
    return tensors[name].shape[0] if name in tensors and tensors[name].ndim else default


def count_blocks(tensors: Mapping[str, Tensor], layer: int, prefix: str = "layer") -> int:
    """The number of blocks in a layer of a ResNet, or with another prefix in a stage of a transformer; at least 1."""
    numbers = [re.match(rf"{prefix}{layer}\.(\d+)\.", name) for name in tensors]
    return max(len({number[1] for number in numbers if number}), 1)
