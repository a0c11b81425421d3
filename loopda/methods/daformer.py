"""DAFormer: a mean teacher's labels on mixed images, and rare classes more often (Hoyer et al., CVPR 2022).

The student is what is saved and evaluated, as in the authors' code. Ours differs from it where this says so: classes to
paste are drawn among those of each image, not of the batch; colours and blur are drawn for each image; a crop may be
of one class alone; and the source-only model is where the training starts, as for every method here.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from loopda.config import Section
from loopda.data.augmentation import each, mixed_image_augmentation
from loopda.data.batches import DayBatch, NightBatch
from loopda.data.dataset import Frames
from loopda.data.rare_classes import RareClasses
from loopda.errors import ConfigError
from loopda.labels.grid import coverage
from loopda.labels.mixing import VALUES, class_mask, paste
from loopda.labels.thresholds import counted_rows
from loopda.losses.features import feature_distance
from loopda.losses.segmentation import weighted_cross_entropy
from loopda.methods.method import Losses, Method, frozen_copy, supervision
from loopda.models.segmenter import Segmenter, upsample
from loopda.runtime import distributed
from loopda.training.ema import Teacher
from loopda.weights.downloads import locate

Share = Annotated[float, Field(ge=0, le=1)]


class Settings(Section):
    """The section `methods.daformer`.

    decay: of the teacher. threshold: of the confidence that q counts. ignore_top, ignore_bottom: shares of the height
    whose pseudo-label counts nothing. colour, blur: of the mixed image (loopda/data/augmentation.py). feature_distance:
    its weight, 0 leaves it out; feature_weights: of its frozen encoder, "" takes the source-only model's;
    feature_statistics: by which that normalises. things:
    classes besides the dynamic ones that it looks at; names that the class list does not have mean nothing.
    thing_share: of a cell of the features that one such class must cover. rare_temperature: of rare class sampling, 0
    leaves it out; rare_pixels, rare_crop_pixels: the shares of an image that a class must cover for the image, and then
    for the crop, to be drawn.
    """

    name: Literal["daformer"]
    decay: Annotated[float, Field(ge=0, lt=1)]
    threshold: Share
    ignore_top: Share
    ignore_bottom: Share
    colour: Annotated[float, Field(ge=0, le=0.5)]
    blur: Share
    feature_distance: Annotated[float, Field(ge=0)]
    feature_weights: str
    feature_statistics: Literal["batch", "kept"]
    things: tuple[str, ...]
    thing_share: Share
    rare_temperature: Annotated[float, Field(ge=0)]
    rare_pixels: Share
    rare_crop_pixels: Share


class DAFormer(Method):
    """Source supervision, the mixed image under the teacher's labels, and the frozen encoder's features of things."""

    def __init__(self, settings: Settings, segmenter: Segmenter, source: Frames):
        super().__init__(settings, segmenter, source)
        self.teacher = Teacher(segmenter, settings.decay)
        self.augment = mixed_image_augmentation(settings.colour, settings.blur)
        self.aligned = segmenter.network.aligned
        names = segmenter.classes.names
        self.things = segmenter.classes.dynamic | {index for index, name in enumerate(names) if name in settings.things}
        if settings.feature_distance:
            if not self.things:
                raise ConfigError(
                    "methods.daformer.feature_distance: the class list has no dynamic class and none of `things`; name "
                    "some there, or set feature_distance to 0"
                )
            if settings.feature_weights:
                self.files["feature_weights"] = locate(settings.feature_weights)
            weights = self.files.get("feature_weights")
            self.guide = frozen_copy(
                segmenter, weights, domain="day", statistics=settings.feature_statistics, say=self.notes.append
            )
        if settings.rare_temperature:
            self.draw = RareClasses(
                source, settings.rare_temperature, of_image=settings.rare_pixels, of_crop=settings.rare_crop_pixels
            ).draw

    def losses(self, segmenter: Segmenter, day: DayBatch, night: NightBatch, step: int, steps: int) -> Losses:
        if day.images.shape != night.images.shape:
            raise ConfigError("methods.daformer mixes crops of day and night: input.crop must fit into both sizes")
        # the teacher takes over the student of the step before, then labels the night as it is
        self.teacher.update_parameters(segmenter)
        labels, weights = self.pseudo_labels(night.images)

        # source supervision, and things that still look as they did to the frozen encoder
        outputs = segmenter(day.images, aux=False)
        terms = {"seg_d": supervision(outputs, day.labels, 0)}
        total = terms["seg_d"]
        if self.settings.feature_distance:
            where = self.thing_cells(day.labels, outputs.features.shape[2:])
            with torch.no_grad():
                aim = self.guide(day.images, aux=False).features
            terms["features"] = feature_distance(features=outputs.features, target=aim, where=where)
            total = total + self.settings.feature_distance * terms["features"]

        # half of the day's classes on the night
        scores = distributed.draw_share(
            lambda count: torch.rand(count, VALUES, device=day.labels.device), len(day.labels)
        )
        mask = class_mask(day.labels, scores=scores)
        image = each(self.augment, paste(mask, day.images, night.images))
        answer = segmenter(image, aux=False)
        terms["seg_mix"] = weighted_cross_entropy(
            logits=upsample(answer.logits, labels.shape[1:], answer.aligned),
            labels=paste(mask, day.labels, labels),
            weights=paste(mask, torch.ones_like(weights), weights),
        )
        confident = distributed.mean(weights.sum(), weights.numel())
        return Losses(total + terms["seg_mix"], None, {**terms, "confident": confident})

    @torch.no_grad()
    def pseudo_labels(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The teacher's labels of night images, and their weights, both (N, H, W).

        The weight q is one number: the share of the batch's pixels whose largest probability reaches the threshold. It
        is 0 in the ignored rows.
        """
        outputs = self.teacher(images, aux=False)
        probabilities = upsample(outputs.logits.float(), images.shape[2:], outputs.aligned).softmax(dim=1)
        confidence, labels = probabilities.max(dim=1)
        sure = (confidence >= self.settings.threshold).float()
        share = distributed.mean(sure.sum(), sure.numel())
        rows = counted_rows(labels.shape[1], (self.settings.ignore_top, self.settings.ignore_bottom))
        weights = torch.zeros(labels.shape, device=labels.device)
        weights[:, rows] = share
        return labels, weights

    def thing_cells(self, labels: Tensor, size: tuple[int, int]) -> Tensor:
        """The cells (N, *size) bool of which one thing class covers at least `thing_share`; void covers too."""
        things = sorted(self.things)
        shown = torch.stack([labels == one for one in things], dim=1)
        return (coverage(shown, size, aligned=self.aligned) >= self.settings.thing_share - 1e-9).any(dim=1)
