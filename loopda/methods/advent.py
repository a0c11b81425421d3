"""ADVENT: less entropy, directly (MinEnt) or adversarially (AdvEnt), and a class-ratio prior (Vu et al., CVPR 2019)."""

from typing import Literal

import numpy as np
import torch
from torch.optim import Optimizer

from loopda.config import Fraction, NonNegative
from loopda.data.batches import DayBatch, NightBatch
from loopda.data.dataset import Frames
from loopda.losses.entropy import class_ratio, entropy, self_information
from loopda.methods.alignment import HEADS, Adversaries, MapAdversary, head_probabilities, needs_aux
from loopda.methods.method import Losses, Method, supervision
from loopda.models.segmenter import Segmenter


class Settings(MapAdversary):
    """The section `methods.advent`. MinEnt is adversarial 0 and adversarial_aux 0, AdvEnt entropy 0 and entropy_aux 0.

    class_ratio weighs the prior and class_ratio_relax is its mu; the `_aux` are of the auxiliary head.
    """

    name: Literal["advent"]
    aux: NonNegative
    entropy: NonNegative
    entropy_aux: NonNegative
    class_ratio: NonNegative
    class_ratio_relax: Fraction


class Advent(Method):
    """Source supervision, and night predictions that are as sure as the day's."""

    def __init__(self, settings: Settings, segmenter: Segmenter, source: Frames):
        super().__init__(settings, segmenter, source)
        self.aux = needs_aux(segmenter, settings.name, settings.aux, settings.entropy_aux, settings.adversarial_aux)
        self.entropies = {"logits": settings.entropy, "aux": settings.entropy_aux}
        self.adversaries = Adversaries(
            settings,
            classes=len(segmenter.classes),
            kind="bce",
            see=lambda probabilities: self_information(probabilities=probabilities),
        )
        prior = source.class_shares() if settings.class_ratio else np.zeros(len(segmenter.classes))
        self.register_buffer("prior", torch.from_numpy(prior.astype(np.float32)))

    def optimizers(self) -> dict[str, Optimizer]:
        return self.adversaries.optimizers()

    def losses(self, segmenter: Segmenter, day: DayBatch, night: NightBatch, step: int, steps: int) -> Losses:
        section = self.settings
        size = night.images.shape[2:]
        day_outputs = segmenter(day.images, aux=self.aux)
        night_outputs = segmenter(night.images, aux=self.aux)
        total = supervision(day_outputs, day.labels, section.aux)
        terms = {"seg_d": total}

        # MinEnt, each head with its weight
        for head, weight in self.entropies.items():
            if weight:
                p = head_probabilities(night_outputs, head, size)
                terms[f"entropy{HEADS[head]}"] = its = entropy(probabilities=p)
                total = total + weight * its

        # the class-ratio prior
        if section.class_ratio:
            p = head_probabilities(night_outputs, "logits", size)
            ratio = class_ratio(probabilities=p, prior=self.prior, relax=section.class_ratio_relax)
            terms["class_ratio"] = ratio
            total = total + section.class_ratio * ratio

        # AdvEnt
        told = None
        if self.adversaries.weights:
            night_maps = self.adversaries.seen(night_outputs, size)
            day_maps = self.adversaries.seen(day_outputs, day.labels.shape[1:])
            adversarial, fooled = self.adversaries.fooled(night_maps)
            total = total + adversarial
            told = self.adversaries.told_apart(day_maps, night_maps)
            terms |= {**fooled, "discriminators": told}
        return Losses(total, told, terms)
