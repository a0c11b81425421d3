"""The normalisation statistics for the evaluation of a trained network."""

from collections.abc import Iterator

import torch
from torch import Tensor

from loopda.data.dataset import Frames
from loopda.data.sampling import evenly
from loopda.data.transforms import to_images
from loopda.models.segmenter import Segmenter, estimate_statistics, running_statistics
from loopda.runtime.distributed import round_robin
from loopda.runtime.signals import interruptible

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
    segmenter.statistics = {
        domain: estimate_statistics(segmenter, _batches(frames, device))
        for domain, frames in (("day", day), ("night", night))
    }


def _batches(frames: Frames, device: torch.device) -> Iterator[Tensor]:
    indices = evenly(len(frames), IMAGES)
    for first in interruptible(round_robin(range(0, len(indices), BATCH)), SAVED):
        yield to_images([frames.image(index) for index in indices[first : first + BATCH]]).to(device)
