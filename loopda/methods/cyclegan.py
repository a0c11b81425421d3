"""The CycleGAN of CyCADA's pixel-level adaptation (Zhu et al., ICCV 2017; Hoffman et al., ICML 2018).

The stage `translate` trains it. Every network has the name of the domain that its output or its real images show:
the generator "night" is G_d2n, the discriminator "night" is D_n.
"""

from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from loopda.config import NonNegative, Positive, Section, WholeNumber
from loopda.data.dataset import Input
from loopda.errors import ConfigError
from loopda.models.checkpoint import save_checkpoint
from loopda.models.translator import ImageBuffer, PatchDiscriminator, Translator


class Generators(Section):
    """The networks G_d2n and G_n2d. levels: how many times they halve the resolution for the residual blocks."""

    width: Annotated[int, Field(ge=4)]
    levels: Annotated[int, Field(ge=0, le=2)]
    residual_blocks: WholeNumber
    lr: Positive


class Discriminators(Section):
    """The networks D_n and D_d. buffer: how many earlier translations are kept for each."""

    width: Annotated[int, Field(ge=4)]
    layers: Annotated[int, Field(ge=1, le=5)]
    lr: Positive
    buffer: WholeNumber


class CycleGANWeights(Section):
    """The weights of the generators' losses: the terms of CyCADA's equation 6, and CycleGAN's identity loss."""

    adversarial: NonNegative
    cycle: NonNegative
    identity: NonNegative
    semantic: NonNegative


class CycleGAN(nn.Module):
    """The generators, the discriminators, and the buffers of earlier translations for the discriminators."""

    def __init__(self, generators: Generators, discriminators: Discriminators, images: Input):
        super().__init__()
        self.generators, self.discriminators = nn.ModuleDict(), nn.ModuleDict()
        self.image_buffers = nn.ModuleDict()
        originals = {"night": images.labelled_day, "day": images.size}  # a translation has the size of its original
        for domain, size in originals.items():
            width, height = (min(pair) for pair in zip(images.crop, size, strict=True))
            if min(width, height) >> discriminators.layers < 3:
                raise ConfigError(
                    f"translate.discriminators.layers: {discriminators.layers} are too many for images of "
                    f"{width}x{height}; choose fewer, or a larger input.crop"
                )
            self.generators[domain] = Translator(
                width=generators.width, levels=generators.levels, residual_blocks=generators.residual_blocks
            )
            self.discriminators[domain] = PatchDiscriminator(width=discriminators.width, layers=discriminators.layers)
            self.image_buffers[domain] = ImageBuffer(capacity=discriminators.buffer, height=height, width=width)
        self.to(memory_format=torch.channels_last)  # the faster layout, on CPUs and GPUs


def save_generators(nets: CycleGAN, path: Path, **provenance: object) -> None:
    """Write the weights of both generators: "night" translates day to night, "day" the reverse.

    provenance: as in save_segmenter.
    """
    states = {domain: network.state_dict() for domain, network in nets.generators.items()}
    weights = {domain: {name: value.cpu() for name, value in state.items()} for domain, state in states.items()}
    save_checkpoint({"format": 1, "generators": weights, "provenance": provenance}, path)
