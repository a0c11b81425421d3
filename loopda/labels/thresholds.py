"""Offline class-wise thresholds for pseudo-labels (BDL, Li et al., CVPR 2019), in memory that does not grow."""

import math

import numpy as np
from numpy.typing import NDArray

from loopda.labels.classes import IGNORE

BINS = 65536  # a threshold is known to 1 / BINS


class ConfidenceHistogram:
    """For each class, a histogram of the confidences of the pixels predicted as this class, over a whole data set.

    Sorting the confidences of 2416 images of 960x540 would need 20 GB; these counts need K * BINS * 8 bytes.
    """

    def __init__(self, classes: int):
        self.counts = np.zeros((classes, BINS), dtype=np.int64)

    def add(self, prediction: NDArray[np.uint8], confidence: NDArray[np.float32]) -> None:
        """Count one label map and its confidences (the highest class probability, in [0, 1]), both of any one shape."""
        places = prediction.ravel().astype(np.int64) * BINS + confidence_bin(confidence).ravel()
        self.counts += np.bincount(places, minlength=self.counts.size).reshape(self.counts.shape)

    def predicted(self) -> NDArray[np.int64]:
        """Pixels predicted as each class, (K,)."""
        return self.counts.sum(axis=1)

    def thresholds(self, *, portion: float, cap: float) -> NDArray[np.float64]:
        """For each class the confidence at position round(portion * n) of its n sorted ones, at most `cap`; (K,).

        portion 0.5 is the median. A class that was never predicted gets 0, as in BDL's code.
        """
        totals = self.predicted()
        position = np.minimum(np.round(portion * totals).astype(np.int64), np.maximum(totals - 1, 0))
        above = self.counts.cumsum(axis=1) > position[:, None]
        values = above.argmax(axis=1) / BINS
        return np.where(totals > 0, np.minimum(values, cap), 0.0)


def confidence_bin(confidence: NDArray[np.float32]) -> NDArray[np.int64]:
    """The bin of a confidence in [0, 1]: bin b holds [b, b + 1) / BINS, and 1 falls into the last."""
    return np.minimum((confidence * BINS).astype(np.int64), BINS - 1)


def keep_confident(
    prediction: NDArray[np.uint8], confidence: NDArray[np.float32], thresholds: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """The prediction where its confidence reaches its class's threshold, else 255."""
    kept = confidence_bin(confidence) >= thresholds[prediction] * BINS
    return np.where(kept, prediction, IGNORE).astype(np.uint8)


def counted_rows(height: int, ignored: tuple[float, float]) -> slice:
    """The rows of a label map of `height` without the shares `ignored` at the top and at the bottom.

    Each share is rounded to whole rows: 15 / 512 of 512 rows are 15 rows, and so is every share within half a row of
    that. At least one row remains.
    """
    top, bottom = (math.floor(share * height + 0.5) for share in ignored)
    top = min(top, height - 1)
    return slice(top, max(height - bottom, top + 1))
