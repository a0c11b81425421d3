"""DAFormer: labels of a mean teacher on mixed images, and rare classes more often (Hoyer et al., CVPR 2022).

The student is saved and evaluated, as in the authors' code. Four things differ from that code. The pasted classes are
drawn among those of each image, not of the batch. Colour and blur are drawn for each image. A crop may show one class
alone. Training starts from the source-only model, as for every method here.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from loopda.config import Fraction, NonNegative, Section
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


class DAFormerSettings(Section):
    """The section `methods.daformer`.

    decay: of the teacher. threshold: the confidence from which a pixel counts for q. ignore_top, ignore_bottom: the
    fractions of the height whose pseudo-labels have weight 0. colour, blur: augmentation of the mixed image
    (loopda/data/augmentation.py). feature_distance: the weight of this loss; 0 leaves it out. feature_weights: those of
    its frozen encoder; "" takes the source-only model's. feature_statistics: of the frozen encoder's batch
    normalisation. things: the thing classes besides the dynamic ones; names outside the class list are ignored.
    thing_share: the fraction of a feature cell that a thing class must cover. rare_temperature: T of rare class
    sampling; 0 leaves it out. rare_pixels, rare_crop_pixels: the fractions of an image's pixels that the drawn class
    must exceed in the image, and in the crop of it.
    """

    name: Literal["daformer"]
    decay: Annotated[float, Field(ge=0, lt=1)]
    threshold: Fraction
    ignore_top: Fraction
    ignore_bottom: Fraction
    colour: Annotated[float, Field(ge=0, le=0.5)]
    blur: Fraction
    feature_distance: NonNegative
    feature_weights: str
    feature_statistics: Literal["batch", "kept"]
    things: tuple[str, ...]
    thing_share: Fraction
    rare_temperature: NonNegative
    rare_pixels: Fraction
    rare_crop_pixels: Fraction


class DAFormer(Method):
    """Source supervision, mixed images with the teacher's pseudo-labels, and the feature distance of thing classes."""

    def __init__(self, settings: DAFormerSettings, segmenter: Segmenter, source: Frames):
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
            self.frozen_network = frozen_copy(
                segmenter, weights, domain="day", statistics=settings.feature_statistics, say=self.notes.append
            )
        if settings.rare_temperature:
            self.draw = RareClasses(
                source, settings.rare_temperature, of_image=settings.rare_pixels, of_crop=settings.rare_crop_pixels
            ).draw

    def losses(self, segmenter: Segmenter, day: DayBatch, night: NightBatch, step: int, steps: int) -> Losses:
        if day.images.shape != night.images.shape:
            raise ConfigError("methods.daformer mixes crops of day and night: input.crop must fit into both sizes")

        # teacher: moving average of the student, then pseudo-labels of the night without augmentation
        self.teacher.update_parameters(segmenter)
        labels, weights = self.pseudo_labels(night.images)

        # source supervision
        outputs = segmenter(day.images, aux=False)
        terms = {"seg_d": supervision(outputs, day.labels, 0)}
        total = terms["seg_d"]

        # feature distance of thing classes on the source
        if self.settings.feature_distance:
            where = self.thing_cells(day.labels, outputs.features.shape[2:])
            with torch.no_grad():
                frozen_features = self.frozen_network(day.images, aux=False, logits=False).features
            terms["features"] = feature_distance(features=outputs.features, target=frozen_features, where=where)
            total = total + self.settings.feature_distance * terms["features"]

        # mixed image: half of the day's classes pasted on the night (ClassMix)
        scores = distributed.draw_share(
            lambda count: torch.rand(count, VALUES, device=day.labels.device), len(day.labels)
        )
        mask = class_mask(day.labels, scores=scores)
        mixed_images = each(self.augment, paste(mask, day.images, night.images))
        mixed = segmenter(mixed_images, aux=False)
        terms["seg_mix"] = weighted_cross_entropy(
            logits=upsample(mixed.logits, labels.shape[1:], mixed.aligned),
            labels=paste(mask, day.labels, labels),
            weights=paste(mask, torch.ones_like(weights), weights),
        )
        confident = distributed.mean(weights.sum(), weights.numel())
        return Losses(total + terms["seg_mix"], {**terms, "confident": confident})

    @torch.no_grad()
    def pseudo_labels(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The teacher's labels of night images, and their weights, both (N, H, W).

        The weight q in [0, 1] is one number: the fraction of the batch's pixels whose largest probability reaches the
        threshold. The weight is 0 in the ignored rows.
        """
        outputs = self.teacher(images, aux=False)
        probabilities = upsample(outputs.logits.float(), images.shape[2:], outputs.aligned).softmax(dim=1)
        confidence, labels = probabilities.max(dim=1)
        confident = (confidence >= self.settings.threshold).float()
        q = distributed.mean(confident.sum(), confident.numel())
        rows = counted_rows(labels.shape[1], (self.settings.ignore_top, self.settings.ignore_bottom))
        weights = torch.zeros(labels.shape, device=labels.device)
        weights[:, rows] = q
        return labels, weights

    def thing_cells(self, labels: Tensor, size: tuple[int, int]) -> Tensor:
        """The feature cells (N, *size) bool of which one thing class covers at least `thing_share`.

        Pixels that are not labelled count in the area of a cell.
        """
        things = torch.stack([labels == thing for thing in sorted(self.things)], dim=1)
        return (coverage(things, size, aligned=self.aligned) >= self.settings.thing_share - 1e-9).any(dim=1)
