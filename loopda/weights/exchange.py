"""Files of a model for others: safetensors with everything a checkpoint says, and the official LoopDA layout."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loopda.errors import DataError
from loopda.models.segmenter import Segmenter
from loopda.runtime.files import written
from loopda.runtime.weight_files import AGAIN, described, is_safetensors, needs_packages

_OFFICIAL = {False: "caffe", True: "caffe-rgb"}  # what the authors' evaluator feeds, without and with bn_pretrain


def write_safetensors(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Write what `save_segmenter` wrote as safetensors: `model.<name>` and `statistics.<domain>.<name>` are tensors,
    all the rest (network, classes, input normalisation, provenance) is JSON under the metadata key `loopda`."""
    library = _library()
    tensors = {f"model.{name}": value for name, value in checkpoint["model"].items()}
    for domain, statistics in checkpoint["statistics"].items():
        tensors |= {f"statistics.{domain}.{name}": value for name, value in statistics.items()}
    rest = {key: value for key, value in checkpoint.items() if key not in ("model", "statistics")}
    metadata = {"format": "pt", "loopda": json.dumps(rest)}  # "format" is what other readers look for
    with written(path) as temporary:
        library.save_file({name: value.contiguous() for name, value in tensors.items()}, temporary, metadata)


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of any safetensors file; DataError when it is missing or damaged."""
    library = _library()
    if not path.is_file():
        raise DataError(f"{path}: no such weights file; check the path")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return library.load_file(path), file.metadata() or {}
    except (SafetensorError, OSError, ValueError):
        raise DataError(f"{path}: cannot be read as safetensors: {_reason(path)}") from None


def _reason(path: Path) -> str:
    with open(path, "rb") as file:
        head = file.read(16)
    if is_safetensors(head):
        return f"it is damaged, or ends too early, as of a download or a copy that broke off; {AGAIN}"
    known = described(path)
    if known:
        return known
    if head.startswith((b"PK", b"\x80")):
        return "it is a file of torch.save; give it the suffix .pth"
    return f"it is something else; {AGAIN}"


def checkpoint_of(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], path: Path) -> dict[str, Any] | None:
    """The checkpoint that `write_safetensors` wrote to `path`, or None when somebody else made the file."""
    if "loopda" not in metadata:
        return None
    try:
        checkpoint = json.loads(metadata["loopda"])
        parts: dict[str, Any] = {"model": {}, "statistics": {}}
        for name, value in tensors.items():
            part, _, rest = name.partition(".")
            if part == "statistics":
                domain, _, rest = rest.partition(".")
                parts["statistics"].setdefault(domain, {})[rest] = value
            else:
                parts[part][rest] = value
        return {**checkpoint, **parts}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: damaged metadata ({error}); export the model again") from None


def write_official(segmenter: Segmenter, path: Path, domain: str) -> None:
    """Write a plain state dict in the layout of the authors' `student.pth`, with the statistics of `domain`.

    645 tensors for a ResNet-101, 650 with bn_pretrain. DataError for a network whose logits the authors' code would
    not reproduce from these tensors: the file has no room for anything but tensors.
    """
    section = segmenter.section
    wanted = {
        "name": "pspnet",
        "stride_in": "conv1",
        "output_stride": 8,
        "normalisation": _OFFICIAL[segmenter.bn_pretrain],
    }
    lines = [
        f"{key} is {getattr(section, key)}, there it is {value}"
        for key, value in wanted.items()
        if getattr(section, key) != value
    ]
    if lines:
        raise DataError(
            f"{path}: the official code cannot run this network: {'; '.join(lines)}. "
            "Export it as safetensors or ONNX, or train one with these values of the section network"
        )
    segmenter.use_statistics(domain)
    state = {name: value.cpu().contiguous() for name, value in segmenter.network.state_dict().items()}
    with written(path) as temporary, open(temporary, "wb") as file:
        torch.save(state, file)


def _library() -> Any:
    needs_packages(".safetensors")
    import safetensors.torch

    return safetensors.torch
