"""Class probabilities and label maps of whole images."""

import torch
from torch import Tensor

from loopda.models.segmenter import Segmenter, upsample


@torch.no_grad()
def predict(segmenter: Segmenter, images: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The label map and its confidence, both (N, *size): argmax and max of the upsampled class probabilities.

    The softmax is taken at the resolution of the logits and upsampled bilinearly with aligned corners, then the
    largest class is taken: one forward, no flip, one scale, the protocol of LoopDA's evaluation. The segmenter is in
    evaluation mode with the statistics of the images' domain (`use_statistics`).
    """
    probabilities = upsample(segmenter(images, aux=False).logits.float().softmax(dim=1), size)
    confidence, labels = probabilities.max(dim=1)
    return labels.to(torch.uint8), confidence
