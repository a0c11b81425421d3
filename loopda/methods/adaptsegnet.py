"""AdaptSegNet: adversarial alignment of the output space (Tsai et al., CVPR 2018)."""

from typing import Annotated, Literal

from pydantic import Field
from torch.optim import Optimizer

from loopda.config import Section
from loopda.data.batches import DayBatch, NightBatch
from loopda.data.dataset import Frames
from loopda.methods.alignment import Adversaries, needs_aux
from loopda.methods.method import Losses, Method, supervision
from loopda.models.segmenter import Segmenter
from loopda.training.optimizer import adam

Weight = Annotated[float, Field(ge=0)]


class Settings(Section):
    """The section `methods.adaptsegnet`: the lambdas, for the main and the auxiliary head.

    Single-level is aux 0 and adversarial_aux 0.
    """

    name: Literal["adaptsegnet"]
    gan: Literal["bce", "lsgan"]
    aux: Weight
    adversarial: Weight
    adversarial_aux: Weight
    discriminator_width: Annotated[int, Field(ge=4)]
    discriminator_lr: Annotated[float, Field(gt=0)]


class AdaptSegNet(Method):
    """Source supervision, and discriminators that the night's segmentation is to pass for the day's."""

    def __init__(self, settings: Settings, segmenter: Segmenter, source: Frames):
        super().__init__(settings, segmenter, source)
        self.aux = needs_aux(segmenter, settings.name, settings.aux, settings.adversarial_aux)
        self.adversaries = Adversaries(
            {"logits": settings.adversarial, "aux": settings.adversarial_aux},
            classes=len(segmenter.classes),
            width=settings.discriminator_width,
            kind=settings.gan,
            see=lambda probabilities: probabilities,
        )

    def optimizers(self) -> dict[str, Optimizer]:
        return {"adversaries": adam([self.adversaries], self.settings.discriminator_lr, betas=(0.9, 0.99))}

    def losses(self, segmenter: Segmenter, day: DayBatch, night: NightBatch, step: int, steps: int) -> Losses:
        size = day.labels.shape[1:]
        day_outputs = segmenter(day.images, aux=self.aux)
        night_outputs = segmenter(night.images, aux=self.aux)
        day_maps = self.adversaries.seen(day_outputs, size)
        night_maps = self.adversaries.seen(night_outputs, night.images.shape[2:])
        seg_d = supervision(day_outputs, day.labels, self.settings.aux)
        adv_n = self.adversaries.fooled(night_maps)
        told = self.adversaries.told_apart(day_maps, night_maps)
        return Losses(seg_d + adv_n, told, {"seg_d": seg_d, "adv_n": adv_n, "discriminators": told})
