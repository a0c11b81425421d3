"""A folder of pictures that a stage writes for the page."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from loopda.data.transforms import to_bytes
from loopda.labels.classes import ClassList
from loopda.runtime.files import written


class Album:
    """Writes PNGs 001.png, 002.png, ... into a folder, each atomically. Every method returns the paths."""

    def __init__(self, folder: Path, classes: ClassList):
        self.folder, self.classes, self.count = folder, classes, 0

    def image(self, picture: NDArray[np.uint8]) -> str:
        """Write an RGB picture (H, W, 3)."""
        self.count += 1
        path = self.folder / f"{self.count:03d}.png"
        with written(path) as temporary:
            Image.fromarray(picture).save(temporary)
        return str(path)

    def images(self, batches: list[Tensor]) -> list[str]:
        """Write the first image of each batch (N, 3, H, W) in [-1, 1]."""
        return [self.image(to_bytes(images)[0]) for images in batches]

    def label(self, label: NDArray[np.uint8] | Tensor) -> str:
        """Write a label map (H, W) in the colours of its classes, ignored pixels black."""
        return self.image(self.classes.colour_map(np.asarray(label).astype(np.uint8)))
