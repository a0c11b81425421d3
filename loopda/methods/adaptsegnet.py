"""AdaptSegNet: adversarial alignment of the output space (Tsai et al., CVPR 2018)."""

from typing import Literal

from torch.optim import Optimizer

from loopda.config import NonNegative
from loopda.data.batches import DayBatch, NightBatch
from loopda.data.dataset import Frames
from loopda.errors import ConfigError
from loopda.methods.alignment import Adversaries, MapAdversary, needs_aux
from loopda.methods.method import Losses, Method, supervision
from loopda.models.segmenter import Segmenter


class Settings(MapAdversary):
    """The section `methods.adaptsegnet`. Single-level is aux 0 and adversarial_aux 0."""

    name: Literal["adaptsegnet"]
    gan: Literal["bce", "lsgan"]
    aux: NonNegative


class AdaptSegNet(Method):
    """Source supervision, and discriminators that the night's segmentation is to pass for the day's."""

    def __init__(self, settings: Settings, segmenter: Segmenter, source: Frames):
        super().__init__(settings, segmenter, source)
        self.aux = needs_aux(segmenter, settings.name, settings.aux, settings.adversarial_aux)
        if not (settings.adversarial or settings.adversarial_aux):
            raise ConfigError(
                "methods.adaptsegnet: adversarial and adversarial_aux are both 0, which adapts nothing; raise one, or "
                "take the method source_only"
            )
        self.adversaries = Adversaries(
            settings,
            classes=len(segmenter.classes),
            kind=settings.gan,
            see=lambda probabilities: probabilities,
        )

    def optimizers(self) -> dict[str, Optimizer]:
        return self.adversaries.optimizers()

    def losses(self, segmenter: Segmenter, day: DayBatch, night: NightBatch, step: int, steps: int) -> Losses:
        size = day.labels.shape[1:]
        day_outputs = segmenter(day.images, aux=self.aux)
        night_outputs = segmenter(night.images, aux=self.aux)
        day_maps = self.adversaries.seen(day_outputs, size)
        night_maps = self.adversaries.seen(night_outputs, night.images.shape[2:])
        seg_d = supervision(day_outputs, day.labels, self.settings.aux)
        adversarial, fooled = self.adversaries.fooled(night_maps)
        told = self.adversaries.told_apart(day_maps, night_maps)
        return Losses(seg_d + adversarial, told, {"seg_d": seg_d, **fooled, "discriminators": told})
