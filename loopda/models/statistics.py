"""Normalisation statistics of a set of images: their estimate, and how far they lie from those of a training domain."""

from collections.abc import Mapping

import torch
from torch import Tensor

from loopda.data.batches import whole_images
from loopda.data.dataset import Frames
from loopda.data.sampling import evenly
from loopda.models.segmenter import DOMAINS, Segmenter, estimate_statistics
from loopda.runtime.signals import AGAIN

IMAGES = 128  # of a set, spread evenly over it
BATCH = 8
EPSILON = 1e-5  # added to variances, as in the normalisation itself
# The distance beyond which images are said to lie far from the statistics of a domain [ours]. Measured with source-only
# models (seed 0) of the town, and of CamVid by day with MSRS by night: halves of a training set, below 0.02; validation
# images, 0.01 to 0.03 on the town, 0.06 on CamVid's other day drive; 8 images of the town's training night 0.1, one
# image 0.3. MSRS's day from CamVid's, 0.25; CamVid's dusk from MSRS's night, 0.7 to 0.8. Real images from the town's:
# 0.4 to 0.5 by day, 1.3 to 1.5 by night.
FAR = 0.3


def statistics_of(
    segmenter: Segmenter, frames: Frames, device: torch.device, *, remedy: str = AGAIN
) -> dict[str, Tensor]:
    """`estimate_statistics` on at most IMAGES images of `frames`, whole and without labels; `remedy` as in
    `whole_images`."""
    batches = whole_images(frames, BATCH, device, indices=evenly(len(frames), IMAGES), remedy=remedy)
    return estimate_statistics(segmenter, (images for _, images in batches))


def distances(known: Mapping[str, Mapping[str, Tensor]], own: Mapping[str, Tensor]) -> dict[str, float]:
    """How far the statistics `own` lie from those of each domain: their divergence, over that of day from night.

    known: the statistics of the model, by domain. {} where they are shared, or the same by day and by night, so that
    there is no measure.
    """
    if not set(DOMAINS) <= known.keys() or not (unit := divergence(*(known[name] for name in DOMAINS))):
        return {}
    return {name: round(divergence(known[name], own) / unit, 4) for name in DOMAINS}


def divergence(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """The symmetric Kullback-Leibler divergence of two sets of statistics, in [0, inf): that of normal distributions
    for each channel, its mean over the channels of a layer, and the mean of these over the layers.

    KL(1, 2) + KL(2, 1) = (v1 / v2 + v2 / v1 - 2 + (m1 - m2)^2 (1 / v1 + 1 / v2)) / 2, with means m and variances v. Li
    et al. ("Revisiting batch normalization for practical domain adaptation", 2016) compare data sets by it.
    """
    layers = [key.removesuffix("mean") for key in one if key.endswith("running_mean")]
    of_layers = []
    for layer in layers:
        shift = (one[f"{layer}mean"] - other[f"{layer}mean"]).double().square()
        first, second = (statistics[f"{layer}var"].double() + EPSILON for statistics in (one, other))
        ratio = first / second
        of_layers.append(((ratio + 1 / ratio - 2 + shift * (1 / first + 1 / second)) / 2).mean())
    return float(torch.stack(of_layers).mean())


def far_from(used: str, found: Mapping[str, float]) -> str:
    """A sentence where images lie far from the statistics `used`, by their `distances`; "" where they do not, or these
    are their own."""
    farthest = max((found[name] for name in used.split(" and ") if name in found), default=0.0)
    if farthest <= FAR:
        return ""
    return (
        f"the images lie far from the {used} statistics (distance {farthest:.2f}, where day is 1 from night; more than"
        f" {FAR:g} is far)"
    )
