"""LoopDA: semantic segmentation networks that see at night, trained without night labels.

from loopda import load
model = load("model.pt")
labels = model.predict("night.jpg")
"""

import importlib
import warnings
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loopda.evaluation.predictor import Predictor

__version__ = "0.1.0"


def load(
    model: str | Path,
    *,
    domain: str = "night",
    size: tuple[int, int] | str | None = None,
    tile: tuple[int, int] | str | None = None,
    overlap: int | None = None,
    device: str = "auto",
) -> "Predictor":
    """Load the checkpoint `model`, the `model.pt` of any stage, as a `Predictor`, which explains the other arguments.

    device: auto uses the GPU if there is one, even while a training uses it too; cpu and cuda are strict. DataError
    where the file is missing or damaged, or has no statistics of the domain; DeviceError where there is no such device.
    """
    # imported here: the Snakefile imports parts of this package whenever it is parsed, and must not wait for PyTorch
    from loopda.config import expanded
    from loopda.evaluation.predictor import Predictor
    from loopda.models.checkpoint import load_segmenter
    from loopda.runtime.device import choose_device

    segmenter = load_segmenter(expanded(model)).to(choose_device(device, shared=True))
    return Predictor(segmenter, domain=domain, size=size, tile=tile, overlap=overlap)


def __getattr__(name: str) -> ModuleType:
    """`from loopda import experiments` still works, with a warning; to be removed after one release."""
    if name != "experiments":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn("loopda.experiments is loopda.pipeline.experiments now", DeprecationWarning, stacklevel=2)
    return importlib.import_module("loopda.pipeline.experiments")
