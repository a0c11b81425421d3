"""Files of safetensors: reading any such file, and writing a whole checkpoint of this package as one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from loopda.errors import DataError
from loopda.runtime.files import written
from loopda.weights.formats import AGAIN, described, is_safetensors, needs_packages


def write_safetensors(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint of `save_segmenter` as safetensors.

    The tensors are called `model.<name>` and `statistics.<domain>.<name>`. All the rest (network, classes, input
    normalisation, provenance) is JSON under the metadata key `loopda`.
    """
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
    """The checkpoint that `write_safetensors` wrote to `path`, or None when another program made the file."""
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


def _library() -> Any:
    needs_packages(".safetensors")
    import safetensors.torch

    return safetensors.torch
