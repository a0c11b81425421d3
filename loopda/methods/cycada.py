"""CyCADA: training on translated source images, then adversarial alignment of the scores (Hoffman et al., ICML 2018).

The stage `translate` translates the images. This file holds what follows: the alignment is ADDA's (Tzeng et al.,
CVPR 2017), by the gate and the schedule of the paper's appendix A.1.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.optim import Optimizer

from loopda.config import Count, Fraction, NonNegative, Section, WholeNumber
from loopda.data.batches import DayBatch, NightBatch
from loopda.data.dataset import Frames
from loopda.losses.adversarial import SOURCE, TARGET, domain_accuracy, domain_loss
from loopda.methods.method import Losses, Method, frozen, supervision
from loopda.models.discriminator import ScoreDiscriminator
from loopda.models.segmenter import Segmenter
from loopda.training.optimizer import (
    DiscriminatorOptimizer,
    SegmenterOptimizer,
    discriminator_optimizer,
    segmenter_optimizer,
)
from loopda.training.schedule import poly


class CycadaSettings(Section):
    """The section `methods.cycada`.

    pixel: whether the source images are those of the stage `translate` (pixel-level adaptation). supervised: the
    fraction of the steps with source supervision alone, before the alignment of the scores; 1 leaves it out.
    alignment_optimizer: the network's optimiser during the alignment; "same" keeps the stage's. gate: the network is
    updated while the discriminator's mean accuracy over the last `window` steps is above it. stop_after: after so many
    steps in a row at or below the gate, the remaining steps change nothing; 0: never.
    """

    name: Literal["cycada"]
    pixel: bool
    supervised: Fraction
    alignment_optimizer: Literal["same"] | SegmenterOptimizer
    adversarial: NonNegative
    gate: Fraction
    window: Count
    stop_after: WholeNumber
    discriminator_width: Annotated[int, Field(ge=4)]
    discriminator_dropout: Annotated[float, Field(ge=0, lt=1)]
    discriminator_optimizer: DiscriminatorOptimizer


class Cycada(Method):
    """Source supervision, then also a discriminator of the scores, which trains the network while it is accurate."""

    def __init__(self, settings: CycadaSettings, segmenter: Segmenter, source: Frames):
        super().__init__(settings, segmenter, source)
        self.discriminator = ScoreDiscriminator(
            classes=len(segmenter.classes),
            width=settings.discriminator_width,
            dropout=settings.discriminator_dropout,
        )
        # of the last `window` steps, in no order; at first 0.5, the accuracy of guessing, so that the gate is shut
        self.register_buffer("accuracies", torch.full((settings.window,), 0.5))
        self.register_buffer("alignment_steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("steps_below_gate", torch.zeros((), dtype=torch.int64))  # in a row, up to now
        # in a tuple, which Module does not look into: the network is no part of the method's state
        self._segmenter = (segmenter,)

    @property
    def reads_translations(self) -> bool:
        return self.settings.pixel

    def optimizers(self) -> dict[str, Optimizer]:
        section = self.settings
        optimizers = {"discriminators": discriminator_optimizer([self.discriminator], section.discriminator_optimizer)}
        if section.alignment_optimizer != "same":
            optimizers["alignment"] = segmenter_optimizer(*self._segmenter, section.alignment_optimizer)
        return optimizers

    def factors(self, step: int, steps: int) -> dict[str, float]:
        section, supervised = self.settings, self.supervised_steps(steps)
        if section.alignment_optimizer == "same" or step <= supervised:
            return {}
        power = section.alignment_optimizer.power
        return {"alignment": poly(step - supervised, steps=steps - supervised, power=power)}

    def supervised_steps(self, steps: int) -> int:
        """The number of first steps with source supervision alone."""
        return round(self.settings.supervised * steps)

    def losses(self, segmenter: Segmenter, day: DayBatch, night: NightBatch, step: int, steps: int) -> Losses:
        section = self.settings
        if section.stop_after and self.steps_below_gate >= section.stop_after:
            return Losses(None, {"taught": torch.zeros_like(self.accuracies[0])})

        # source supervision (equation 1)
        day_outputs = segmenter(day.images, aux=False)
        seg_d = supervision(day_outputs, day.labels, 0)
        if step <= self.supervised_steps(steps):
            return Losses(seg_d, {"seg_d": seg_d})

        # discriminator, on constant scores of both domains (equation 5)
        night_scores = segmenter(night.images, aux=False).logits
        predicted = (
            (self.discriminator(day_outputs.logits.detach()), SOURCE),
            (self.discriminator(night_scores.detach()), TARGET),
        )
        discriminator_loss = sum(
            domain_loss(scores=scores, domain=domain, kind="bce") / 2 for scores, domain in predicted
        )

        # gate: its accuracy over the last steps
        accuracy = self.mean_accuracy(
            sum(domain_accuracy(scores=scores, domain=domain) / 2 for scores, domain in predicted)
        )
        gate_open = accuracy > section.gate
        terms = {
            "seg_d": seg_d,
            "discriminators": discriminator_loss,
            "accuracy": accuracy,
            "taught": gate_open.float(),
        }
        if not gate_open:
            self.steps_below_gate += 1
            return Losses(None, terms, discriminator_loss)
        self.steps_below_gate.zero_()

        # segmentation network: the discriminator should take the night for the source (equation 5), and supervision
        terms["adv_n"] = domain_loss(scores=frozen(self.discriminator)(night_scores), domain=SOURCE, kind="bce")
        optimizer = "segmenter" if section.alignment_optimizer == "same" else "alignment"
        return Losses(seg_d + section.adversarial * terms["adv_n"], terms, discriminator_loss, optimizer)

    def mean_accuracy(self, accuracy: Tensor) -> Tensor:
        """Add the accuracy of this step, and return the mean of the last `window`."""
        self.accuracies[int(self.alignment_steps) % len(self.accuracies)] = accuracy
        self.alignment_steps += 1
        return self.accuracies.mean()
