"""DANN: features from which a classifier cannot predict the domain, by gradient reversal (Ganin et al., JMLR 2016)."""

import math
from typing import Annotated, Literal

from pydantic import Field
from torch.optim import Optimizer

from loopda.config import NonNegative, Positive, Section
from loopda.data.batches import DayBatch, NightBatch
from loopda.data.dataset import Frames
from loopda.losses.adversarial import SOURCE, TARGET, domain_loss
from loopda.methods.method import Losses, Method, supervision
from loopda.models.discriminator import DomainClassifier, reverse_gradient
from loopda.models.segmenter import Segmenter
from loopda.training.optimizer import adam


class DannSettings(Section):
    """The section `methods.dann`. weight: of the domain classifier's loss, which no paper gives for segmentation."""

    name: Literal["dann"]
    weight: NonNegative
    steepness: Positive
    classifier_width: Annotated[int, Field(ge=4)]
    classifier_lr: Positive


class Dann(Method):
    """Source supervision, and a domain classifier on each position of layer4, behind the reversed gradient."""

    def __init__(self, settings: DannSettings, segmenter: Segmenter, source: Frames):
        super().__init__(settings, segmenter, source)
        self.classifier = DomainClassifier(channels=segmenter.network.channels[-1], width=settings.classifier_width)

    def optimizers(self) -> dict[str, Optimizer]:
        return {"joint": adam([self.classifier], self.settings.classifier_lr, betas=(0.9, 0.999))}

    def losses(self, segmenter: Segmenter, day: DayBatch, night: NightBatch, step: int, steps: int) -> Losses:
        lambda_p = reversal((step - 1) / steps, self.settings.steepness)
        day_outputs = segmenter(day.images, aux=False)
        night_outputs = segmenter(night.images, aux=False)

        # source supervision
        seg_d = supervision(day_outputs, day.labels, 0)

        # domain classification: the classifier descends along this loss, the features ascend
        losses = []
        for outputs, domain in ((day_outputs, SOURCE), (night_outputs, TARGET)):
            scores = self.classifier(reverse_gradient(outputs.features, lambda_p))
            losses.append(domain_loss(scores=scores, domain=domain, kind="bce") / 2)
        domain_classification = sum(losses)
        total = seg_d + self.settings.weight * domain_classification
        return Losses(total, {"seg_d": seg_d, "domain": domain_classification})


def reversal(progress: float, steepness: float) -> float:
    """lambda_p = 2 / (1 + exp(-steepness p)) - 1 of the progress p in [0, 1]: from 0 towards 1 (10 in the paper)."""
    return 2 / (1 + math.exp(-steepness * progress)) - 1
