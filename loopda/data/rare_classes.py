"""Rare class sampling (DAFormer, Hoyer et al., CVPR 2022): labelled images that show rare classes come more often."""

import numpy as np
from numpy.typing import NDArray

from loopda.data.dataset import Frames
from loopda.data.transforms import View, random_view
from loopda.errors import DataError
from loopda.labels.classes import IGNORE

TRIES = 10  # crops of an image, if they show too little of the drawn class


class RareClasses:
    """Draws a class by how rare it is, then one of the images that show enough of it, then a crop that does so too.

    temperature: T of `class_probabilities`. of_image, of_crop: the shares of an image's pixels that a class must exceed
    for the image, and then for the crop, to show it. DataError where no image shows any class so.
    """

    def __init__(self, frames: Frames, temperature: float, *, of_image: float, of_crop: float):
        self.frames = frames
        pixels = frames.size[0] * frames.size[1]
        self.least = of_crop * pixels
        counts = np.stack([self._counts(frames.label(index)) for index in range(len(frames))])
        self.images = [np.flatnonzero(shown) for shown in (counts > of_image * pixels).T]
        shares = counts.sum(axis=0) / max(counts.sum(), 1)
        shown = np.array([len(images) > 0 for images in self.images])
        self.probabilities = class_probabilities(shares, temperature, shown)
        if not self.probabilities.any():
            raise DataError(
                f"{frames.rows[0].image} and the images after it: none shows a class by more than {of_image:.2%} of "
                "its pixels; lower methods.daformer.rare_pixels, or set rare_temperature to 0"
            )

    def draw(self, rng: np.random.Generator, crop: tuple[int, int]) -> tuple[int, View]:
        """The index of a labelled image and a view of it; the last of TRIES, if none shows enough of the class."""
        drawn = rng.choice(len(self.probabilities), p=self.probabilities)
        index = int(rng.choice(self.images[drawn]))
        label = self.frames.label(index)
        for _ in range(TRIES):
            view = random_view(rng, size=self.frames.size, crop=crop)
            if (view.of(label) == drawn).sum() > self.least:
                break
        return index, view

    def _counts(self, label: NDArray[np.uint8]) -> NDArray[np.int64]:
        return np.bincount(label.ravel(), minlength=IGNORE + 1)[: len(self.frames.classes)]


def class_probabilities(
    shares: NDArray[np.float64], temperature: float, shown: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """P(c) = exp((1 - f_c) / T) / sum_c' exp((1 - f_c') / T) over the classes that some image shows, else 0; (K,).

    shares (K,): f_c, the share of class c among the labelled pixels; the smaller T, the more the rare ones win.
    """
    if not shown.any():
        return np.zeros(len(shares))
    exponents = np.where(shown, (1 - shares) / temperature, -np.inf)
    weights = np.exp(exponents - exponents.max())
    return weights / weights.sum()
