"""The confusion matrix: how many pixels of each true class were predicted as each class.

All scores derive from one matrix over a whole set of images: sum the matrices of the images, then score the
sum.
"""

import numpy as np

from loopda.errors import DataError
from loopda.labels.classes import IGNORE, MOST_CLASSES

_BYTES = 256


def confusion_matrix(prediction: np.ndarray, label: np.ndarray, classes: int) -> np.ndarray:
    """Count pixels by true and predicted class: (classes, classes) int64, rows = truth, columns = prediction.

    prediction: class indices 0 .. classes - 1, any integer type and shape. label: the same shape, and IGNORE
    (255) where there is no truth; those pixels are not counted. DataError: the label holds another id.
    ValueError: the prediction holds another id (IGNORE counts as one, also on ignored pixels: a network has no void
    class), or the shapes differ.
    """
    if not 1 <= classes <= MOST_CLASSES:
        raise ValueError(f"{classes} classes; expected 1 .. {MOST_CLASSES}")
    if prediction.shape != label.shape:
        raise ValueError(f"a prediction of shape {prediction.shape} for a label of shape {label.shape}")
    if not _fits_in_bytes(label):
        raise DataError(f"label ids {label.min()} .. {label.max()}; class ids are 0 .. {classes - 1} or {IGNORE}")
    if not _fits_in_bytes(prediction):
        raise ValueError(f"predicted ids {prediction.min()} .. {prediction.max()} of {classes} classes")
    if prediction.size and prediction.max() >= classes:
        raise ValueError(f"predicted ids {np.unique(prediction[prediction >= classes]).tolist()} of {classes} classes")
    # One count over all pairs, without a mask: void and unknown label ids get rows of their own, where they are found.
    # That saves a copy of the valid pixels, which takes most of the time of the usual implementation.
    pairs = label.astype(np.uint16).ravel() * np.uint16(classes) + prediction.astype(np.uint8, copy=False).ravel()
    counts = np.bincount(pairs, minlength=_BYTES * classes).reshape(_BYTES, classes)
    unknown = np.flatnonzero(counts[classes:IGNORE].any(axis=1)) + classes
    if unknown.size:
        raise DataError(
            f"label ids {unknown.tolist()}; class ids are 0 .. {classes - 1} or {IGNORE}: the label map was"
            " not decoded, or belongs to another class list"
        )
    return counts[:classes].astype(np.int64)


def _fits_in_bytes(ids: np.ndarray) -> bool:
    if not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"class ids are whole numbers, not {ids.dtype}")
    return ids.dtype == np.uint8 or ids.size == 0 or (ids.min() >= 0 and ids.max() < _BYTES)
