"""Class probabilities and label maps of batches of images."""

from collections.abc import Sequence

import torch
from torch import Tensor

from loopda.models.segmenter import Segmenter, upsample

MOST_VALUES = 2**28  # probabilities to upsample at a time: 1 GiB, about six images of 1920x1080


@torch.no_grad()
def predict(segmenter: Segmenter, images: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The label map and its confidence, both (N, *size): argmax and max of the upsampled class probabilities.

    The softmax is taken at the resolution of the logits and upsampled bilinearly; then the largest class is taken.
    There is one forward pass, at one scale and without flipping, as in LoopDA's evaluation, except that LoopDA's code
    upsamples the logits (`class_logits`). The segmenter must be in evaluation mode, with the statistics of the images'
    domain (`use_statistics`).
    """
    return most_likely(class_probabilities(segmenter, images), size, segmenter.network.aligned)


@torch.no_grad()
def class_logits(segmenter: Segmenter, images: Tensor) -> Tensor:
    """(N, K, h, w): the logits of the main head, not upsampled."""
    return segmenter(images, aux=False).logits.float()


def class_probabilities(segmenter: Segmenter, images: Tensor) -> Tensor:
    """(N, K, h, w): the softmax of `class_logits`."""
    return class_logits(segmenter, images).softmax(dim=1)


def most_likely(probabilities: Tensor, size: tuple[int, int], aligned: bool = True) -> tuple[Tensor, Tensor]:
    """The class of the largest probability (uint8), and that probability, both (N, *size).

    probabilities: (N, K, h, w), or logits, whose largest value is then returned. They are upsampled to `size` (height,
    width), with aligned corners or not. Maps of more than MOST_VALUES values are upsampled in strips of rows, so that a
    large photograph fits into memory; that may change the last bits of a probability.
    """
    count, classes, _, _ = probabilities.shape
    height, width = size
    rows = max(1, MOST_VALUES // (count * classes * width))
    if rows >= height:
        confidence, labels = upsample(probabilities, size, aligned).max(dim=1)
        return labels.to(torch.uint8), confidence
    strips = [
        most_likely(_rows(probabilities, first, last, height, aligned), (last - first, width), aligned)
        for first, last in ((first, min(first + rows, height)) for first in range(0, height, rows))
    ]
    labels, confidence = (torch.cat(parts, dim=1) for parts in zip(*strips, strict=True))
    return labels, confidence


def mean_probabilities(
    outputs: Sequence[Tensor], size: tuple[int, int], *, logits: bool, aligned: Sequence[bool]
) -> Tensor:
    """(N, K, *size): the mean of the class probabilities of several models, with equal weights.

    outputs: of each model (N, K, h, w), at its own resolution: probabilities or, with `logits`, logits whose softmax is
    taken after upsampling to `size` (height, width). aligned: for each model, whether with aligned corners.
    """
    upsampled = [upsample(output, size, corners) for output, corners in zip(outputs, aligned, strict=True)]
    return torch.stack([output.softmax(dim=1) if logits else output for output in upsampled]).mean(dim=0)


def _rows(probabilities: Tensor, first: int, last: int, height: int, aligned: bool) -> Tensor:
    """The rows first ... last - 1 of `probabilities` interpolated to `height` rows."""
    source = probabilities.shape[2]
    at = torch.arange(first, last, device=probabilities.device)
    at = at * ((source - 1) / max(height - 1, 1)) if aligned else ((at + 0.5) * (source / height) - 0.5).clamp(min=0)
    above = at.floor().long().clamp(max=source - 1)
    below = (above + 1).clamp(max=source - 1)
    part = (at - above)[:, None]
    return probabilities[:, :, above] * (1 - part) + probabilities[:, :, below] * part
