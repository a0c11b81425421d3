"""Reading files of torch.save without running code in them, and saying what a file is that cannot be read."""

import re
import warnings
import zipfile
from pathlib import Path

import numpy as np
import torch

from loopda.errors import DataError, LoopdaError
from loopda.weights.formats import AGAIN, described, is_safetensors

TENSORS_ALONE = "where the model can be loaded, save its tensors alone: torch.save(model.state_dict(), 'tensors.pth')"

_SAFETENSORS = "it is a safetensors file: python -m loopda.stages.convert makes a model.pt of a whole network in one"

_LEGACY = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")  # begins the files of PyTorch before 1.6

# the types as which plain numbers of NumPy are pickled, under the names of NumPy 1 and 2: trainings save their scores
# so. None of them runs code of the file, and none holds Python objects
_TYPES = [type(np.dtype(code)) for code in ("?", *"bBhHiIlLqQ", *"efdg", *"FD", "U", "S")]
NUMBERS = [
    np.dtype,
    np.ndarray,
    *_TYPES,
    *((getattr(np._core.multiarray, name), f"numpy.{core}.multiarray.{name}")
      for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
]  # fmt: skip


def read(path: Path) -> object:
    """torch.load with weights_only=True and numbers of NumPy; DataError says what a file is that cannot be read."""
    if not path.exists():
        raise DataError(f"{path}: no such weights file; check the path, or run the stage that makes it")
    if path.is_file() and is_safetensors(_head(path)):  # newer versions of PyTorch read the tensors alone
        raise DataError(f"{path}: cannot be read as weights: {_SAFETENSORS}")
    try:
        with torch.serialization.safe_globals(NUMBERS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about what it cannot read; our message follows
            return torch.load(path, map_location="cpu", weights_only=True)
    except (LoopdaError, MemoryError, PermissionError):
        raise
    except Exception as error:  # torch raises five unrelated types for damaged files
        if "can't allocate memory" in str(error):
            raise
        raise DataError(f"{path}: cannot be read as weights: {_reason(path, str(error))}") from None


def _reason(path: Path, error: str) -> str:
    """What `path` is, and what to do. Torch's message is never shown: it advises to run the code in the file."""
    known = described(path)
    if known:
        return known
    objects = _objects(path, error)
    if objects:
        named = ", ".join(objects[:4]) + (f" and {len(objects) - 4} more" if objects[4:] else "")
        if any(name.startswith("torch.nn.modules.") for name in objects):
            return f"it holds a whole module as Python objects ({named}), not its tensors; {TENSORS_ALONE}"
        return f"it holds Python objects besides tensors ({named}), which code would have to make; {TENSORS_ALONE}"
    head = _head(path)
    if head.startswith(b"PK"):
        return f"the archive is damaged; {AGAIN}"
    if head.startswith(_LEGACY):
        return f"it is damaged, or ends too early, as of a download or a copy that broke off; {AGAIN}"
    if head[:1] == b"\x80":
        return f"it is a damaged pickle, or one that PyTorch did not write; {AGAIN}, or {TENSORS_ALONE}"
    return f"it is damaged, or of no format that PyTorch writes; {AGAIN}"


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(len(_LEGACY))


def _objects(path: Path, error: str) -> list[str]:
    """The names of the classes and functions that the file needs besides tensors, found without running them."""
    known = {item[1] if isinstance(item, tuple) else f"{item.__module__}.{item.__qualname__}" for item in NUMBERS}
    found = set(re.findall(r"(?:GLOBAL|Unsupported (?:class|type)|class(?: of)?) ['`\"]?([A-Za-z_][\w.]*\.\w+)", error))
    if zipfile.is_zipfile(path):
        try:
            found |= set(torch.serialization.get_unsafe_globals_in_checkpoint(path))
        except Exception:  # of a damaged archive: torch's types again
            return []
    return sorted(found - known)
