"""Checkpoints: files of torch.save that say everything about a model, with a SHA-256 of their content.

`save_segmenter` and `load_segmenter` are for whole models (model.pt); `save_checkpoint` and `load_checkpoint` are for
any dictionary of tensors and plain values, such as the progress of a training or LoopDA's decoders.
"""

import hashlib
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loopda.errors import DataError
from loopda.labels.classes import ClassList
from loopda.models.segmenter import Network, Segmenter
from loopda.runtime import processes
from loopda.runtime.files import unwritable, written
from loopda.weights import torch_files
from loopda.weights.layouts import OWN
from loopda.weights.recognition import recognise

FORMAT = 1  # of the checkpoint file
DIGEST = "sha256"  # the key in the file whose value is the digest of all other keys


def save_segmenter(segmenter: Segmenter, path: Path, **provenance: object) -> None:
    """Write a checkpoint that describes itself. `provenance` (stage, seed, config, ...) are plain values."""
    checkpoint = {
        "format": FORMAT,
        "network": segmenter.section.model_dump(),
        "bn_pretrain": segmenter.bn_pretrain,
        "classes": segmenter.classes.to_json(),
        "statistics": segmenter.statistics,
        "model": {key: value.cpu() for key, value in segmenter.network.state_dict().items()},
        "provenance": provenance,
    }
    save_checkpoint(checkpoint, path)


def save_checkpoint(checkpoint: dict[str, Any], path: Path) -> None:
    """Write tensors and plain values for `load_checkpoint`, with their SHA-256, as a whole file or not at all.

    Equal checkpoints make equal files. Of several processes the first one writes. DeviceError where the disk is full.
    """
    if not processes.is_first():
        return
    # into an open file: given a path, torch would write the temporary name into its archive
    with written(path) as temporary, open(temporary, "wb") as file:
        try:
            torch.save({**checkpoint, DIGEST: content_digest(checkpoint)}, file)
        except RuntimeError as error:  # so torch reports a full disk
            raise unwritable(path, error) from error


def load_segmenter(path: Path) -> Segmenter:
    """Read a checkpoint that `save_segmenter` wrote.

    DataError when it is missing, damaged, something else, or holds numbers that are not finite.
    """
    checkpoint = load_checkpoint(path)
    if not isinstance(checkpoint, dict) or checkpoint.get("format") != FORMAT or "network" not in checkpoint:
        raise DataError(f"{path}: {_not_a_model(checkpoint, path)}")
    return segmenter_of(checkpoint, path)


def _not_a_model(content: object, path: Path) -> str:
    """What a file is that can be read, but holds no model of this package, and what to do with it."""
    version = content.get("format") if isinstance(content, dict) else None
    if version is not None and version != FORMAT:
        return f"not a loopda checkpoint of format {FORMAT} but {version}; make it again with this version"
    convert = f"python -m loopda.stages.convert --weights {shlex.quote(str(path))} --model model.pt"
    try:
        layout = recognise(content, path).layout
    except DataError as error:
        reason = str(error).removeprefix(f"{path}: ")
        return (
            f"not a loopda checkpoint (model.pt). Models of others become one by `{convert}`; but this file: {reason}"
        )
    if layout.title == OWN:
        return "a part of a loopda checkpoint; make it again"
    if not layout.network:
        return (
            f"not a loopda checkpoint but a backbone without heads ({layout.title}): training can start from it "
            "(pretrain.weights, simclr.weights); name a model.pt, or a whole model of others after "
            "python -m loopda.stages.convert"
        )
    return f"not a loopda checkpoint but a model of others ({layout.title}); convert it: {convert}"


def segmenter_of(checkpoint: Mapping[str, Any], path: Path) -> Segmenter:
    """The segmenter of a checkpoint that `save_segmenter` wrote to `path`; DataError as in `load_segmenter`."""
    try:
        network = checkpoint["network"]
        segmenter = Segmenter(
            Network(**{**network, "blocks": tuple(network["blocks"]), "encoder": _encoder(network)}),
            ClassList.from_json(checkpoint["classes"]),
            bn_pretrain=checkpoint["bn_pretrain"],
        )
        segmenter.network.load_state_dict(checkpoint["model"])
        segmenter.statistics = checkpoint["statistics"]
        segmenter.input_size = _input_size(checkpoint["provenance"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: parts are missing or do not fit ({reason}); make it again") from None
    named = {"model": checkpoint["model"], **checkpoint["statistics"]}
    for part, values in named.items():
        for name, value in values.items():
            if value.is_floating_point() and not value.isfinite().all():
                raise DataError(f"{path}: {part}: {name} holds numbers that are not finite; train that stage again")
    return segmenter


def _encoder(network: Mapping[str, Any]) -> str:
    """The encoder of a saved section `network`; before version 0.2, pspnet and deeplab always had a ResNet."""
    known = network.get("encoder", "mit_b0")
    return known if network["name"] == "daformer" or not known.startswith("mit_") else "resnet"


def _input_size(provenance: Mapping[str, Any]) -> tuple[int, int] | None:
    """(width, height) of the training images, from the configuration of the stage that made the model."""
    section = provenance.get("config", {}).get("input")
    if section is None:
        return None
    width, height = section["size"]
    return int(width), int(height)


def load_checkpoint(path: Path) -> object:
    """torch.load without code execution; DataError when the file is missing, damaged or something else.

    The content of a file of `save_checkpoint` is compared with the SHA-256 in it, because torch does not notice a
    flipped bit. Files of others, and of earlier versions of this package, hold no SHA-256 and are not compared.
    """
    content = torch_files.read(Path(path))
    if isinstance(content, dict) and DIGEST in content and content.pop(DIGEST) != content_digest(content):
        raise DataError(
            f"{path}: its content does not match the SHA-256 in it: bytes have changed since it was written; delete it "
            "and run the stage that makes it again, or copy it again from where it is whole"
        )
    return content


def content_digest(content: object) -> str:
    """The SHA-256 of nested mappings and sequences of tensors (type, shape, values) and plain values, in order."""
    digest = hashlib.sha256()

    def add(value: object) -> None:
        if isinstance(value, Tensor):
            digest.update(f"tensor {value.dtype} {tuple(value.shape)} ".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        elif isinstance(value, Mapping):
            digest.update(f"mapping {len(value)} ".encode())
            for pair in value.items():
                add(pair)
        elif isinstance(value, list | tuple):
            digest.update(f"sequence {len(value)} ".encode())
            for item in value:
                add(item)
        else:
            digest.update(f"{value!r} ".encode())

    add(content)
    return digest.hexdigest()
