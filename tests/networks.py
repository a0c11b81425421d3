"""A small network of every kind, each with what it is called with."""

import torch
from checkpoints import small_network
from torch import nn

from loopda.labels.classes import CITYSCAPES
from loopda.models.discriminator import (
    DomainClassifier,
    MapDiscriminator,
    MultiScaleDiscriminator,
    ScoreDiscriminator,
)
from loopda.models.image_decoder import ImageDecoder
from loopda.models.projection import ProjectionHead
from loopda.models.segmenter import Segmenter
from loopda.models.translator import PatchDiscriminator, Translator

DECODER = {"features": 8, "classes": 3, "output_stride": 4, "width": 8, "residual_blocks": 1, "semantic_channels": 4}
DAFORMER = {"name": "daformer", "encoder": "mit_tiny", "dropout": 0.0, "drop_path": 0.0}
EFFICIENTNET = {"encoder": "efficientnet_lite0", "dropout": 0.0}
NETWORKS = {  # each with its inputs
    "pspnet": lambda: (Segmenter(small_network(dropout=0.0), CITYSCAPES), (images(),)),
    "deeplab": lambda: (Segmenter(small_network(name="deeplab"), CITYSCAPES), (images(),)),
    "daformer": lambda: (Segmenter(small_network(**DAFORMER), CITYSCAPES), (images(),)),
    "efficientnet": lambda: (Segmenter(small_network(**EFFICIENTNET), CITYSCAPES), (images(),)),
    "decoder": lambda: (
        ImageDecoder(**DECODER, rendering="residual", coarse_rendering=False),
        (torch.rand(2, 8, 8, 12), torch.rand(2, 3, 8, 12), (32, 48)),
    ),
    "multi-scale": lambda: (MultiScaleDiscriminator(width=4, scales=2), (images(),)),
    "map": lambda: (MapDiscriminator(classes=3, width=4, layers=3), (images(),)),
    "score": lambda: (ScoreDiscriminator(classes=3, width=4, dropout=0.0), (images(),)),
    "domain": lambda: (DomainClassifier(channels=3, width=4), (images(),)),
    "translator": lambda: (Translator(width=4, levels=1, residual_blocks=1), (images(),)),
    "patch": lambda: (PatchDiscriminator(width=4, layers=1), (images(),)),
    "projection": lambda: (ProjectionHead(6, 4), (torch.rand(5, 6),)),
}


def images() -> torch.Tensor:
    return torch.rand(2, 3, 32, 48) * 2 - 1


def built(name: str) -> tuple[nn.Module, tuple]:
    torch.manual_seed(0)
    network, inputs = NETWORKS[name]()
    return network.train(), inputs


def tensors(answer: object) -> list[torch.Tensor]:
    parts = answer if isinstance(answer, list | tuple) else [answer]
    return [part for part in parts if isinstance(part, torch.Tensor)]
