"""Scores of a confusion matrix (rows = truth, columns = prediction), all in percent.

The mean IoU averages over the same classes as LoopDA (util/metrics.py, `nanmean`) and cityscapesScripts
(`getScoreAverage`): a class that is neither in the truth nor in the prediction is left out; a class that is predicted
but never true counts as 0. torchmetrics counts both as 0.

cityscapesScripts (2.3.0) differs in this: it scores raw labelIds, so that a prediction may hold ids outside the
evaluated classes ("ego vehicle"); on a labelled pixel such an id is a false negative of the true class, and a false
positive of no class. Here `confusion_matrix` refuses such predictions. Its `evalPixelAccuracy` does not return the
pixel accuracy (it selects the ignored pixels, and counts the wrong ones), and it has no frequency-weighted IoU.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


def iou(confusion: np.ndarray, scored: np.ndarray | None = None) -> np.ndarray:
    """(C,) intersection over union TP / (TP + FP + FN) in percent; NaN where neither true nor predicted.

    scored: (C,) bool, the classes that are scored, by default all; the others are NaN. Pixels of other true classes are
    ignored, here and below. On a pixel of a scored class, the prediction of a class that is not scored is an error.
    """
    counted = _counted(confusion, scored)
    hits = np.diagonal(counted)
    scores = _percent(hits, counted.sum(axis=0) + counted.sum(axis=1) - hits)
    return scores if scored is None else np.where(scored, scores, np.nan)


def mean_iou(confusion: np.ndarray, scored: np.ndarray | None = None) -> float:
    """The mean of `iou` over the classes that have one, in percent; NaN where none has (no labels)."""
    scores = iou(confusion, scored)
    present = scores[~np.isnan(scores)]
    return float(present.mean()) if present.size else float("nan")


def frequency_weighted_iou(confusion: np.ndarray, scored: np.ndarray | None = None) -> float:
    """`iou` weighted by each class's share of the true pixels, in percent; NaN without labels."""
    pixels = _counted(confusion, scored).sum(axis=1)
    if pixels.sum() == 0:
        return float("nan")
    # a class without truth has weight 0, whatever its IoU (NaN included)
    return float(np.nan_to_num(iou(confusion, scored)) @ (pixels / pixels.sum()))


def pixel_accuracy(confusion: np.ndarray, scored: np.ndarray | None = None) -> float:
    """Share of the labelled pixels that are predicted right, in percent; NaN where there is none."""
    counted = _counted(confusion, scored)
    return float(_percent(np.trace(counted), counted.sum()))


@dataclass(frozen=True)
class Scores:
    """The scores of one model on one set of images.

    classes: names. confusion: (C, C), rows = truth. scored: the names of the classes that are scored (see `iou`); empty
    for all.
    """

    classes: tuple[str, ...]
    confusion: np.ndarray
    scored: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """ValueError unless the matrix has one row and one column per class, and `scored` names classes."""
        if _checked(self.confusion).shape[0] != len(self.classes):
            raise ValueError(f"{len(self.classes)} classes and a confusion matrix {self.confusion.shape}")
        if unknown := set(self.scored) - set(self.classes):
            raise ValueError(f"{', '.join(sorted(unknown))}: scored, but no class")

    @property
    def absent(self) -> list[str]:
        """Names of the scored classes without a true pixel, whose IoU is 0 or undefined for every model."""
        pixels = self.confusion.sum(axis=1)
        scored = self.scored or self.classes
        return [name for name, count in zip(self.classes, pixels, strict=True) if count == 0 and name in scored]

    def to_json(self) -> dict[str, Any]:
        """JSON values: mIoU, fwIoU, pixel_accuracy, IoU by class name, the whole confusion; undefined is null."""
        scored = np.isin(self.classes, self.scored) if self.scored else None
        by_class = iou(self.confusion, scored)
        return {
            "mIoU": _json_number(mean_iou(self.confusion, scored)),
            "fwIoU": _json_number(frequency_weighted_iou(self.confusion, scored)),
            "pixel_accuracy": _json_number(pixel_accuracy(self.confusion, scored)),
            "IoU": {name: _json_number(score) for name, score in zip(self.classes, by_class, strict=True)},
            "confusion": self.confusion.tolist(),
        }


def present(classes: Sequence[str], confusion: np.ndarray) -> tuple[str, ...]:
    """The names of the classes that occur in the truth."""
    return tuple(name for name, count in zip(classes, confusion.sum(axis=1), strict=True) if count)


def spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (n - 1 below the root) over seeds; the deviation of a single value is None."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.size == 0:
        raise ValueError("the mean of no values")
    return float(numbers.mean()), float(numbers.std(ddof=1)) if numbers.size > 1 else None


def _checked(confusion: np.ndarray) -> np.ndarray:
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1]:
        raise ValueError(f"a confusion matrix is square, not {confusion.shape}")
    if not np.issubdtype(confusion.dtype, np.integer):
        raise ValueError(f"a confusion matrix holds counts, not {confusion.dtype}")
    return confusion


def _counted(confusion: np.ndarray, scored: np.ndarray | None) -> np.ndarray:
    """The confusion matrix without the pixels of true classes that are not scored."""
    confusion = _checked(confusion)
    return confusion if scored is None else np.where(scored[:, None], confusion, 0)


def _percent(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    whole = np.asarray(whole, dtype=np.float64)
    return np.divide(100.0 * part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _json_number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)
