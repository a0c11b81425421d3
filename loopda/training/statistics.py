"""The normalisation statistics for the evaluation of a trained network."""

import torch

from loopda.data.batches import whole_images
from loopda.data.dataset import Frames
from loopda.data.sampling import evenly
from loopda.models.segmenter import Segmenter, estimate_statistics, running_statistics

SAVED = "the training is saved; the same command goes on after it"
IMAGES = 128  # of each domain, spread evenly over its training set
BATCH = 8


def set_statistics(segmenter: Segmenter, *, day: Frames, night: Frames, device: torch.device) -> None:
    """Set the segmenter's statistics by `network.statistics`.

    per_domain: one set for "day" from labelled training images, and one for "night" from unlabelled ones, both with the
    final weights. All methods and stages use this function, so that no comparison depends on the order of forward
    passes in a training loop. shared: the running average of training, as in the authors' evaluation code.
    """
    if segmenter.section.statistics == "shared":
        segmenter.statistics = {"shared": running_statistics(segmenter)}
        return
    estimated = {}
    for domain, frames in (("day", day), ("night", night)):
        batches = whole_images(frames, BATCH, device, indices=evenly(len(frames), IMAGES), remedy=SAVED)
        estimated[domain] = estimate_statistics(segmenter, (images for _, images in batches))
    segmenter.statistics = estimated
