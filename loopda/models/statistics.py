"""Normalisation statistics of a set of images: their estimate, and how far they lie from those of a training domain."""

from collections.abc import Mapping

import torch
from torch import Tensor

from loopda.data.batches import whole_images
from loopda.data.dataset import Frames
from loopda.data.sampling import evenly
from loopda.models.segmenter import Segmenter, estimate_statistics
from loopda.runtime.signals import AGAIN

IMAGES = 128  # of a set, spread evenly over it
BATCH = 8
EPSILON = 1e-5  # added to variances, as in the normalisation itself
FAR = 1.0


def statistics_of(
    segmenter: Segmenter, frames: Frames, device: torch.device, *, remedy: str = AGAIN
) -> dict[str, Tensor]:
    """`estimate_statistics` on at most IMAGES images of `frames`, whole and without labels; `remedy` as in
    `whole_images`."""
    batches = whole_images(frames, BATCH, device, indices=evenly(len(frames), IMAGES), remedy=remedy)
    return estimate_statistics(segmenter, (images for _, images in batches))


def distance(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """How far two sets of statistics are apart, in [0, inf): the symmetric Kullback-Leibler divergence of two normal
    distributions, its mean over the channels of a layer, and the mean of these over the layers.

    KL(1, 2) + KL(2, 1) = (v1 / v2 + v2 / v1 - 2 + (m1 - m2)^2 (1 / v1 + 1 / v2)) / 2, with means m and variances v. Li
    et al. ("Revisiting batch normalization for practical domain adaptation", 2016) tell data sets apart by it.
    """
    layers = [key.removesuffix("mean") for key in one if key.endswith("running_mean")]
    divergences = []
    for layer in layers:
        shift = (one[f"{layer}mean"] - other[f"{layer}mean"]).double().square()
        first, second = (statistics[f"{layer}var"].double() + EPSILON for statistics in (one, other))
        ratio = first / second
        divergence = (ratio + 1 / ratio - 2 + shift * (1 / first + 1 / second)) / 2
        divergences.append(divergence.mean())
    return float(torch.stack(divergences).mean())


def far_from(used: str, distances: Mapping[str, float]) -> str:
    """A sentence where images lie far from the statistics `used`; "" where they do not, or these are their own."""
    found = max((distances[name] for name in used.split(" and ") if name in distances), default=0.0)
    if found <= FAR:
        return ""
    return f"the images lie far from the {used} statistics (distance {found:.2f}; more than {FAR:g} is far)"
