"""What the tests of files for others share: a small network with statistics, and its bits."""

from collections.abc import Mapping
from typing import Any

import torch
from checkpoints import small_network
from torch import Tensor

from loopda.labels.classes import ClassList
from loopda.models.segmenter import Segmenter, estimate_statistics

CLASSES = ClassList(
    names=("road", "pole"),
    colours=((1, 2, 3), (4, 5, 6)),
    dynamic=frozenset(),
    ssc=frozenset({1}),
    encodings={},
)


def trained(bn_pretrain: bool = False, **changes: Any) -> Segmenter:
    """A small network with statistics for day and night."""
    torch.manual_seed(0)
    values = {"blocks": (1, 2, 1, 1), "normalisation": "caffe-rgb" if bn_pretrain else "caffe"}
    model = Segmenter(small_network(**values | changes), CLASSES, bn_pretrain=bn_pretrain)
    model.statistics = {
        domain: estimate_statistics(model, [torch.rand(3, 3, 24, 32) * scale])
        for domain, scale in (("day", 1), ("night", 0.2))
    }
    return model


def bits(tensors: Mapping[str, Tensor]) -> dict[str, bytes]:
    """Tensors by name, as their bytes."""
    return {name: value.contiguous().numpy().tobytes() for name, value in tensors.items()}
