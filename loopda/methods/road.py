"""ROAD: features close to a pretrained network's, and aligned region by region (Chen et al., CVPR 2018)."""

from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer

from loopda.config import Count, NonNegative, Positive, Section
from loopda.data.batches import DayBatch, NightBatch
from loopda.data.dataset import Frames
from loopda.labels.grid import positions
from loopda.losses.adversarial import SOURCE, TARGET, domain_loss
from loopda.losses.features import feature_distance
from loopda.methods.method import Losses, Method, frozen_copy, supervision
from loopda.models.discriminator import DomainClassifier, reverse_gradient
from loopda.models.segmenter import Segmenter
from loopda.training.optimizer import adam
from loopda.weights.downloads import locate


class RoadSettings(Section):
    """The section `methods.road`.

    distillation, spatial: lambda_1 and lambda_2 of equation 5; 0 leaves the term out. weights: of the frozen network's
    backbone, by name, path or address; "" takes the source-only model as it is. statistics: of the frozen network's
    batch normalisation, each batch's or those kept from its training. grid: columns and rows of the regions. reversal:
    the factor on the reversed gradient.
    """

    name: Literal["road"]
    distillation: NonNegative
    weights: str
    statistics: Literal["batch", "kept"]
    spatial: NonNegative
    grid: tuple[Count, Count]
    reversal: NonNegative
    classifier_width: Annotated[int, Field(ge=4)]
    classifier_lr: Positive


class FeatureMap(NamedTuple):
    """features (N, C, h, w); boxes (N, 4): where the crops lie in their images (View.box); size: H and W of a crop."""

    features: Tensor
    boxes: Tensor
    size: tuple[int, int]


class Road(Method):
    """Source supervision, target-guided distillation (section 3.1) and spatial-aware adaptation (section 3.2)."""

    def __init__(self, settings: RoadSettings, segmenter: Segmenter, source: Frames):
        super().__init__(settings, segmenter, source)
        self.frozen_network: Segmenter | None = None
        if settings.distillation:
            if settings.weights:
                self.files["weights"] = locate(settings.weights)
            weights = self.files.get("weights")
            self.frozen_network = frozen_copy(
                segmenter, weights, domain="night", statistics=settings.statistics, say=self.notes.append
            )
        columns, rows = settings.grid
        self.classifiers = nn.ModuleList(
            DomainClassifier(channels=segmenter.network.channels[-1], width=settings.classifier_width)
            for _ in range(columns * rows if settings.spatial else 0)
        )

    def optimizers(self) -> dict[str, Optimizer]:
        if not self.settings.spatial:
            return {}
        return {"joint": adam([self.classifiers], self.settings.classifier_lr, betas=(0.9, 0.999))}

    def losses(self, segmenter: Segmenter, day: DayBatch, night: NightBatch, step: int, steps: int) -> Losses:
        section = self.settings
        day_outputs = segmenter(day.images, aux=False)
        night_features = segmenter(night.images, aux=False, logits=False).features

        # source supervision
        terms = {"seg_d": supervision(day_outputs, day.labels, 0)}
        total = terms["seg_d"]

        # target-guided distillation (equation 1)
        if self.frozen_network is not None:
            with torch.no_grad():
                frozen_features = self.frozen_network(night.images, aux=False, logits=False).features
            terms["distillation"] = feature_distance(features=night_features, target=frozen_features)
            total = total + section.distillation * terms["distillation"]

        # spatial-aware adaptation (equations 2 to 4)
        if section.spatial:
            terms["spatial"] = self.spatial_loss(
                FeatureMap(day_outputs.features, day.boxes, day.images.shape[2:]),
                FeatureMap(night_features, night.boxes, night.images.shape[2:]),
                aligned=segmenter.network.aligned,
            )
            total = total + section.spatial * terms["spatial"]
        return Losses(total, terms)

    def spatial_loss(self, source: FeatureMap, target: FeatureMap, *, aligned: bool) -> Tensor:
        """L_spt: sum over regions of the mean over their positions of the domain classifier's cross-entropy.

        Equations 2 and 3, behind the reversed gradient. A region without positions adds 0. aligned: how features lie
        in their crops (Outputs.aligned).
        """
        vectors, regions, domains = [], [], []
        for (features, boxes, crop), domain in ((source, SOURCE), (target, TARGET)):
            reversed_features = reverse_gradient(features, self.settings.reversal)
            vectors.append(reversed_features.permute(0, 2, 3, 1).reshape(-1, features.shape[1], 1, 1))  # of positions
            grid = regions_of(boxes, features.shape[2:], self.settings.grid, crop=crop, aligned=aligned)
            regions.append(grid.flatten())
            domains.append(torch.full_like(regions[-1], domain))
        vector, region, domain = torch.cat(vectors), torch.cat(regions), torch.cat(domains)
        total = torch.zeros((), device=vector.device)
        for index, classifier in enumerate(self.classifiers):
            inside = region == index
            total = total + domain_loss(scores=classifier(vector[inside]).flatten(), domain=domain[inside], kind="bce")
        return total


def regions_of(
    boxes: Tensor, size: tuple[int, int], grid: tuple[int, int], *, crop: tuple[int, int], aligned: bool
) -> Tensor:
    """The region of each position of a feature map, 0 ... columns * rows - 1 row by row: (N, h, w).

    boxes (N, 4): left, top, right and bottom of the crop as fractions of the whole image (View.box). size: h and w of
    the map. grid: columns and rows of the regions of the whole image. crop: H and W of the crop in pixels. aligned:
    how the positions lie in the crop (Outputs.aligned).
    """
    (height, width), (columns, rows) = size, grid
    left, top, right, bottom = boxes.unbind(dim=1)
    x = _interpolated(left, right, positions(width, crop[1], aligned=aligned, device=boxes.device) / crop[1])
    y = _interpolated(top, bottom, positions(height, crop[0], aligned=aligned, device=boxes.device) / crop[0])
    column = x.mul(columns).long().clamp(0, columns - 1)
    row = y.mul(rows).long().clamp(0, rows - 1)
    return row[:, :, None] * columns + column[:, None, :]


def _interpolated(first: Tensor, last: Tensor, fractions: Tensor) -> Tensor:
    """Points between `first` (N,) and `last` (N,) at the fractions (n,) of the way: (N, n)."""
    return first[:, None] + (last - first)[:, None] * fractions
