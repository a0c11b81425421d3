"""The normalisation statistics for the evaluation of a trained network."""

import torch

from loopda.data.dataset import Frames
from loopda.models.segmenter import Segmenter, running_statistics
from loopda.models.statistics import statistics_of

SAVED = "the training is saved; the same command goes on after it"


def set_statistics(segmenter: Segmenter, *, day: Frames, night: Frames, device: torch.device) -> None:
    """Set the segmenter's statistics by `network.statistics`.

    per_domain: one set for "day" from labelled training images, and one for "night" from unlabelled ones, both with the
    final weights. All methods and stages use this function, so that no comparison depends on the order of forward
    passes in a training loop. shared: the running average of training, as in the authors' evaluation code.
    """
    if segmenter.section.statistics == "shared":
        segmenter.statistics = {"shared": running_statistics(segmenter)}
        return
    segmenter.statistics = {
        domain: statistics_of(segmenter, frames, device, remedy=SAVED)
        for domain, frames in (("day", day), ("night", night))
    }
