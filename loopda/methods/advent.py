"""ADVENT: less entropy, directly (MinEnt) or adversarially (AdvEnt), and a class-ratio prior (Vu et al., CVPR 2019)."""

from typing import Literal

import numpy as np
import torch
from torch.optim import Optimizer

from loopda.config import Fraction, NonNegative
from loopda.data.batches import DayBatch, NightBatch
from loopda.data.dataset import Frames
from loopda.losses.entropy import class_ratio, entropy, self_information
from loopda.methods.alignment import HEADS, AlignmentSettings, OutputAlignment, head_probabilities, needs_aux
from loopda.methods.method import Losses, Method, supervision
from loopda.models.segmenter import Segmenter


class AdventSettings(AlignmentSettings):
    """The section `methods.advent`. MinEnt is adversarial 0 and adversarial_aux 0, AdvEnt entropy 0 and entropy_aux 0.

    class_ratio is the weight of the prior, class_ratio_relax its mu. The keys with `_aux` are of the auxiliary head.
    """

    name: Literal["advent"]
    aux: NonNegative
    entropy: NonNegative
    entropy_aux: NonNegative
    class_ratio: NonNegative
    class_ratio_relax: Fraction


class Advent(Method):
    """Source supervision, and night predictions of as little entropy as the day's."""

    def __init__(self, settings: AdventSettings, segmenter: Segmenter, source: Frames):
        super().__init__(settings, segmenter, source)
        self.aux = needs_aux(segmenter, settings.name, settings.aux, settings.entropy_aux, settings.adversarial_aux)
        self.entropy_weights = {"logits": settings.entropy, "aux": settings.entropy_aux}
        self.alignment = OutputAlignment(
            settings,
            classes=len(segmenter.classes),
            kind="bce",
            transform=lambda probabilities: self_information(probabilities=probabilities),
        )
        prior = source.class_shares() if settings.class_ratio else np.zeros(len(segmenter.classes))
        self.register_buffer("prior", torch.from_numpy(prior.astype(np.float32)))

    def optimizers(self) -> dict[str, Optimizer]:
        return self.alignment.optimizers()

    def losses(self, segmenter: Segmenter, day: DayBatch, night: NightBatch, step: int, steps: int) -> Losses:
        section = self.settings
        size = night.images.shape[2:]
        day_outputs = segmenter(day.images, aux=self.aux)
        night_outputs = segmenter(night.images, aux=self.aux)

        # source supervision
        total = supervision(day_outputs, day.labels, section.aux)
        terms = {"seg_d": total}

        # MinEnt: the entropy of each head
        for head, weight in self.entropy_weights.items():
            if weight:
                loss = entropy(probabilities=head_probabilities(night_outputs, head, size))
                terms[f"entropy{HEADS[head]}"] = loss
                total = total + weight * loss

        # class-ratio prior
        if section.class_ratio:
            p = head_probabilities(night_outputs, "logits", size)
            loss = class_ratio(probabilities=p, prior=self.prior, relax=section.class_ratio_relax)
            terms["class_ratio"] = loss
            total = total + section.class_ratio * loss

        # AdvEnt: the discriminators should take the night's self-information for the source's
        discriminator_loss = None
        if self.alignment.weights:
            night_maps = self.alignment.inputs(night_outputs, size)
            day_maps = self.alignment.inputs(day_outputs, day.labels.shape[1:])
            adversarial_loss, adversarial_terms = self.alignment.adversarial_loss(night_maps)
            total = total + adversarial_loss
            discriminator_loss = self.alignment.discriminator_loss(day_maps, night_maps)
            terms |= {**adversarial_terms, "discriminators": discriminator_loss}
        return Losses(total, terms, discriminator_loss)
