"""CyCADA: training on translated source images, then alignment of what the network says (Hoffman et al., ICML 2018).

The translation is the stage `translate`; this is what follows it, whose alignment is ADDA's (Tzeng et al., CVPR 2017).
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.optim import Optimizer

from loopda.config import Count, Fraction, NonNegative, Section
from loopda.data.batches import DayBatch, NightBatch
from loopda.data.dataset import Frames
from loopda.losses.adversarial import SOURCE, TARGET, domain_accuracy, domain_loss
from loopda.methods.method import Losses, Method, frozen, supervision
from loopda.models.discriminator import ScoreDiscriminator
from loopda.models.segmenter import Segmenter
from loopda.training.optimizer import (
    CompanionOptimizer,
    SegmenterOptimizer,
    companion_optimizer,
    segmenter_optimizer,
)
from loopda.training.schedule import poly


class Settings(Section):
    """The section `methods.cycada`.

    pixel: whether the source images are those of the stage `translate`, pixel-level adaptation. supervised: the share
    of the steps that are supervision alone, before feature-level alignment; 1: no such alignment. alignment_optimizer:
    the network's during that; "same": it goes on with the stage's. gate: the network learns while the discriminator's
    accuracy over the last `window` steps is above this. stop_after: so many steps in a row below it end the adaptation
    (the steps that are left change nothing); 0: it never ends early.
    """

    name: Literal["cycada"]
    pixel: bool
    supervised: Fraction
    alignment_optimizer: Literal["same"] | SegmenterOptimizer
    adversarial: NonNegative
    gate: Fraction
    window: Count
    stop_after: Annotated[int, Field(ge=0)]
    discriminator_width: Annotated[int, Field(ge=4)]
    discriminator_dropout: Annotated[float, Field(ge=0, lt=1)]
    discriminator_optimizer: CompanionOptimizer


class Cycada(Method):
    """Source supervision; later also a discriminator of score maps, which teaches the network while it is good."""

    def __init__(self, settings: Settings, segmenter: Segmenter, source: Frames):
        super().__init__(settings, segmenter, source)
        self.discriminator = ScoreDiscriminator(
            classes=len(segmenter.classes),
            width=settings.discriminator_width,
            dropout=settings.discriminator_dropout,
        )
        # of the last steps, in no order; those that there were not yet count as guesses, so no chance opens the gate
        self.register_buffer("accuracies", torch.full((settings.window,), 0.5))
        self.register_buffer("judged", torch.zeros((), dtype=torch.int64))  # steps of alignment so far
        self.register_buffer("untaught", torch.zeros((), dtype=torch.int64))  # the last of them that taught nothing
        # in a tuple, unseen by Module: the network is no part of the method's state
        self._segmenter = (segmenter,)

    @property
    def reads_translations(self) -> bool:
        return self.settings.pixel

    def optimizers(self) -> dict[str, Optimizer]:
        section = self.settings
        found = {"adversaries": companion_optimizer([self.discriminator], section.discriminator_optimizer)}
        if section.alignment_optimizer != "same":
            found["alignment"] = segmenter_optimizer(*self._segmenter, section.alignment_optimizer)
        return found

    def factors(self, step: int, steps: int) -> dict[str, float]:
        section, before = self.settings, self.supervised_steps(steps)
        if section.alignment_optimizer == "same" or step <= before:
            return {}
        return {"alignment": poly(step - before, steps=steps - before, power=section.alignment_optimizer.power)}

    def supervised_steps(self, steps: int) -> int:
        """How many of the first steps are supervision alone."""
        return round(self.settings.supervised * steps)

    def losses(self, segmenter: Segmenter, day: DayBatch, night: NightBatch, step: int, steps: int) -> Losses:
        section = self.settings
        if section.stop_after and self.untaught >= section.stop_after:
            return Losses(None, None, {"taught": torch.zeros_like(self.accuracies[0])})
        day_outputs = segmenter(day.images, aux=False)
        seg_d = supervision(day_outputs, day.labels, 0)
        if step <= self.supervised_steps(steps):
            return Losses(seg_d, None, {"seg_d": seg_d})

        # the discriminator, on score maps that are constant
        night_scores = segmenter(night.images, aux=False).logits
        judged = {
            SOURCE: self.discriminator(day_outputs.logits.detach()),
            TARGET: self.discriminator(night_scores.detach()),
        }
        told = sum(domain_loss(scores=scores, domain=domain, kind="bce") / 2 for domain, scores in judged.items())
        accuracy = self.remember(
            sum(domain_accuracy(scores=scores, domain=domain) / 2 for domain, scores in judged.items())
        )
        terms = {"seg_d": seg_d, "discriminators": told, "accuracy": accuracy}

        # the network learns, from the source too, while the discriminator is good enough to teach it
        terms["taught"] = (accuracy > section.gate).float()
        if accuracy <= section.gate:
            self.untaught += 1
            return Losses(None, told, terms)
        self.untaught.zero_()
        terms["adv_n"] = domain_loss(scores=frozen(self.discriminator)(night_scores), domain=SOURCE, kind="bce")
        learner = "segmenter" if section.alignment_optimizer == "same" else "alignment"
        return Losses(seg_d + section.adversarial * terms["adv_n"], told, terms, learner)

    def remember(self, accuracy: Tensor) -> Tensor:
        """Add the accuracy of this step; returns the mean of the last `window`."""
        self.accuracies[int(self.judged) % len(self.accuracies)] = accuracy
        self.judged += 1
        return self.accuracies.mean()
