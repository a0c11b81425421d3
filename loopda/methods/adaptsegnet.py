"""AdaptSegNet: adversarial alignment of the output space (Tsai et al., CVPR 2018)."""

from typing import Literal

from torch.optim import Optimizer

from loopda.config import NonNegative
from loopda.data.batches import DayBatch, NightBatch
from loopda.data.dataset import Frames
from loopda.errors import ConfigError
from loopda.losses.adversarial import GanLoss
from loopda.methods.alignment import AlignmentSettings, OutputAlignment, needs_aux
from loopda.methods.method import Losses, Method, supervision
from loopda.models.segmenter import Segmenter


class AdaptSegNetSettings(AlignmentSettings):
    """The section `methods.adaptsegnet`. Single-level is aux 0 and adversarial_aux 0."""

    name: Literal["adaptsegnet"]
    gan: GanLoss
    aux: NonNegative


class AdaptSegNet(Method):
    """Source supervision, and discriminators of the probabilities of each head."""

    def __init__(self, settings: AdaptSegNetSettings, segmenter: Segmenter, source: Frames):
        super().__init__(settings, segmenter, source)
        self.aux = needs_aux(segmenter, settings.name, settings.aux, settings.adversarial_aux)
        if not (settings.adversarial or settings.adversarial_aux):
            raise ConfigError(
                "methods.adaptsegnet: adversarial and adversarial_aux are both 0, which adapts nothing; raise one, or "
                "take the method source_only"
            )
        self.alignment = OutputAlignment(
            settings,
            classes=len(segmenter.classes),
            kind=settings.gan,
            transform=lambda probabilities: probabilities,
        )

    def optimizers(self) -> dict[str, Optimizer]:
        return self.alignment.optimizers()

    def losses(self, segmenter: Segmenter, day: DayBatch, night: NightBatch, step: int, steps: int) -> Losses:
        day_outputs = segmenter(day.images, aux=self.aux)
        night_outputs = segmenter(night.images, aux=self.aux)
        day_maps = self.alignment.inputs(day_outputs, day.labels.shape[1:])
        night_maps = self.alignment.inputs(night_outputs, night.images.shape[2:])

        # source supervision
        seg_d = supervision(day_outputs, day.labels, self.settings.aux)

        # segmentation network: the discriminators should take the night for the source
        adversarial_loss, terms = self.alignment.adversarial_loss(night_maps)

        # discriminators
        discriminator_loss = self.alignment.discriminator_loss(day_maps, night_maps)
        terms = {"seg_d": seg_d, **terms, "discriminators": discriminator_loss}
        return Losses(seg_d + adversarial_loss, terms, discriminator_loss)
