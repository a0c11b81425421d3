"""What tests of networks and their files share: a small network's section, and a pickle that would run code."""

import os
from pathlib import Path
from typing import Any

from loopda.models.segmenter import Network

SMALL = {
    "name": "pspnet",
    "blocks": (1, 1, 1, 1),
    "width": 4,
    "head_channels": 6,
    "stride_in": "conv1",
    "output_stride": 8,
    "dropout": 0.1,
    "freeze_affine": False,
    "initialisation": "kaiming",
    "normalisation": "caffe",
    "statistics": "per_domain",
}


def small_network(**changes: Any) -> Network:
    """The section of a network of four channels, with `changes`."""
    return Network(**SMALL | changes)


class Payload:
    """An object whose unpickling makes the folder `trace`."""

    def __init__(self, trace: Path):
        self.trace = str(trace)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.trace,)
