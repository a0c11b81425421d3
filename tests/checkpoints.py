"""What tests of networks and their files share: a small network, its images, and a pickle that would run code."""

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loopda.labels.classes import ClassList, Encoding
from loopda.models.segmenter import Network, Segmenter

CLASSES = ClassList(
    names=("road", "pole", "sky", "car"),
    colours=((1, 2, 3), (4, 5, 6), (7, 8, 9), (10, 11, 12)),
    dynamic=frozenset({3}),
    ssc=frozenset({1}),
    encodings={"ids": Encoding(((7,), (8, 9), (), (3,)), frozenset({0, 255}))},
)
SMALL = {
    "encoder": "resnet",
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


def segmenter(bn_pretrain: bool = False, **changes: Any) -> Segmenter:
    """A segmenter with a small network, of CLASSES."""
    return Segmenter(small_network(**changes), CLASSES, bn_pretrain=bn_pretrain)


def images(count: int = 2, size: tuple[int, int] = (16, 16)) -> Tensor:
    """Random images (N, 3, H, W)."""
    return torch.rand(count, 3, *size) * 2 - 1


class Payload:
    """An object whose unpickling makes the folder `trace`."""

    def __init__(self, trace: Path):
        self.trace = str(trace)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.trace,)
