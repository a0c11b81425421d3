"""ROAD: features close to a pretrained network's, and aligned region by region (Chen et al., CVPR 2018)."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer

from loopda.config import Section
from loopda.data.batches import DayBatch, NightBatch
from loopda.data.dataset import Frames
from loopda.downloads import locate
from loopda.losses.adversarial import SOURCE, TARGET, domain_loss
from loopda.losses.features import feature_distance
from loopda.methods.method import Losses, Method, frozen_copy, supervision
from loopda.models.discriminator import DomainClassifier, reverse_gradient
from loopda.models.segmenter import Segmenter
from loopda.training.optimizer import adam

Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


class Settings(Section):
    """The section `methods.road`: distillation and spatial are lambda_1 and lambda_2 of equation 5; 0 leaves out.

    weights: of the frozen network's backbone, by name, path or address; "" takes the source-only model as it is.
    statistics: by which the frozen network normalises: each batch's, or those that it kept from its training.
    grid: columns and rows of the regions.
    """

    name: Literal["road"]
    distillation: Weight
    weights: str
    statistics: Literal["batch", "kept"]
    spatial: Weight
    grid: tuple[Count, Count]
    reversal: Weight
    classifier_width: Annotated[int, Field(ge=4)]
    classifier_lr: Annotated[float, Field(gt=0)]


class Road(Method):
    """Source supervision, target-guided distillation (section 3.1) and spatial-aware adaptation (section 3.2)."""

    def __init__(self, settings: Settings, segmenter: Segmenter, source: Frames):
        super().__init__(settings, segmenter, source)
        self.guide: Segmenter | None = None
        if settings.distillation:
            if settings.weights:
                self.files["weights"] = locate(settings.weights)
            self.guide = frozen_copy(
                segmenter,
                self.files.get("weights"),
                domain="night",
                statistics=settings.statistics,
                say=self.notes.append,
            )
        columns, rows = settings.grid
        self.classifiers = nn.ModuleList(
            DomainClassifier(channels=segmenter.network.channels[-1], width=settings.classifier_width)
            for _ in range(columns * rows if settings.spatial else 0)
        )

    def optimizers(self) -> dict[str, Optimizer]:
        if not self.settings.spatial:
            return {}
        return {"companions": adam([self.classifiers], self.settings.classifier_lr, betas=(0.9, 0.999))}

    def losses(self, segmenter: Segmenter, day: DayBatch, night: NightBatch, step: int, steps: int) -> Losses:
        section = self.settings
        day_outputs = segmenter(day.images, aux=False)
        night_features = segmenter(night.images, aux=False, logits=False).features
        terms = {"seg_d": supervision(day_outputs, day.labels, 0)}
        total = terms["seg_d"]

        # target-guided distillation
        if self.guide is not None:
            with torch.no_grad():
                aim = self.guide(night.images, aux=False, logits=False).features
            terms["distillation"] = feature_distance(features=night_features, target=aim)
            total = total + section.distillation * terms["distillation"]

        # spatial-aware adaptation
        if section.spatial:
            terms["spatial"] = self.alignment((day_outputs.features, day.boxes), (night_features, night.boxes))
            total = total + section.spatial * terms["spatial"]
        return Losses(total, None, terms)

    def alignment(self, source: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor]) -> Tensor:
        """L_spt: sum over regions of the domain classifier's mean loss over the positions there (equations 2 and 3).

        source, target: features (N, C, h, w) with the boxes (N, 4) that they show. A region without positions adds 0.
        """
        vectors, regions, domains = [], [], []
        for (features, boxes), domain in ((source, SOURCE), (target, TARGET)):
            seen = reverse_gradient(features, self.settings.reversal)
            vectors.append(seen.permute(0, 2, 3, 1).reshape(-1, features.shape[1], 1, 1))  # a batch of positions
            regions.append(regions_of(boxes, features.shape[2:], self.settings.grid).flatten())
            domains.append(torch.full_like(regions[-1], domain))
        vector, region, domain = torch.cat(vectors), torch.cat(regions), torch.cat(domains)
        total = torch.zeros((), device=vector.device)
        for index, classifier in enumerate(self.classifiers):
            here = region == index
            total = total + domain_loss(scores=classifier(vector[here]).flatten(), domain=domain[here], kind="bce")
        return total


def regions_of(boxes: Tensor, size: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """The region 0 ... columns * rows - 1, row by row, in which each position of a feature map lies: (N, h, w).

    boxes (N, 4): left, top, right and bottom of what the map shows, in shares of the whole image (View.box); size:
    h and w of the map; grid: columns and rows of the regions of the whole image. A position is the centre of its cell.
    """
    (height, width), (columns, rows) = size, grid
    left, top, right, bottom = boxes.unbind(dim=1)
    x = _centres(left, right, width).mul(columns).long().clamp(0, columns - 1)
    y = _centres(top, bottom, height).mul(rows).long().clamp(0, rows - 1)
    return y[:, :, None] * columns + x[:, None, :]


def _centres(first: Tensor, last: Tensor, count: int) -> Tensor:
    """The centres of `count` equal cells between `first` and `last`, (N,) each: (N, count)."""
    shares = (torch.arange(count, device=first.device) + 0.5) / count
    return first[:, None] + (last - first)[:, None] * shares
