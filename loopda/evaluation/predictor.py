"""A model that predicts photographs of any size, whole or in tiles; the label maps have the size of the photographs.

from loopda import load
model = load("model.pt")
labels = model.predict("night.jpg")
"""

from collections.abc import Iterable, Iterator
from itertools import chain, groupby, islice
from types import EllipsisType
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from loopda.data.dataset import Size, parse_size, resize_image
from loopda.data.transforms import to_images
from loopda.errors import ConfigError, DataError, DeviceError
from loopda.evaluation.probabilities import class_probabilities, most_likely
from loopda.labels.classes import ClassList
from loopda.labels.png import Photograph, photograph
from loopda.models.segmenter import DOMAINS, OWN, Segmenter, estimate_statistics, upsample
from loopda.models.statistics import BATCH, distances, far_from


class Prediction(NamedTuple):
    """labels: (H, W) uint8 class indices. confidence: (H, W) float32, the probability of that class, in (0, 1]."""

    labels: NDArray[np.uint8]
    confidence: NDArray[np.float32]


class Predictor:
    """Predicts one image at a time, with the normalisation statistics of `domain` ("night" or "day"), or of the images
    that it was adapted to (`adapt`).

    size: the working size (width, height), to which every image is resized for the network; "image" keeps the size of
    each image. The default is the size of the images that the model was trained on, as in its evaluation; it is "image"
    where the checkpoint does not say, or with tiles. The class probabilities are upsampled to the full size of the
    image, where the largest gives the label. "960x540" means (960, 540), here and below.

    tile: (width, height) of the tiles in which the network sees the resized image, for images that do not fit into the
    memory of the device. Neighbouring tiles overlap by at least `overlap` pixels (by default a quarter of a tile's
    shorter side), where their probabilities are blended. A network that was trained on whole images has less context in
    a tile.

    ConfigError: an unknown domain; a size or a tile under 16 pixels; an overlap that is not below the tile's sides.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        *,
        domain: str = "night",
        size: Size | str | None = None,
        tile: Size | str | None = None,
        overlap: int | None = None,
    ):
        if domain not in DOMAINS:
            raise ConfigError(f"domain {domain!r}: choose {' or '.join(DOMAINS)}")
        size = _checked(size) if size and size != "image" else size
        tile = _checked(tile) if tile else None
        if overlap is not None and tile is None:
            raise ConfigError(f"overlap {overlap}: there are no tiles that could overlap; give the size of one (tile)")
        if overlap is not None and (overlap != int(overlap) or not 0 <= overlap < min(tile)):
            raise ConfigError(
                f"overlap {overlap}: it must be a whole number, 0 or more, and less than the sides of a tile"
            )
        self.segmenter = segmenter
        self.domain = domain
        self.statistics = segmenter.use_statistics(domain)
        trained = None if tile else segmenter.input_size
        self.size: Size | Literal["image"] = size or trained or "image"
        self.tile = tile
        self.overlap = (min(tile) // 4 if overlap is None else int(overlap)) if tile else 0

    @property
    def classes(self) -> ClassList:
        """Names and colours of the class indices."""
        return self.segmenter.classes

    @property
    def settings(self) -> dict[str, object]:
        """The settings that a prediction depends on besides the weights, as JSON values."""
        size = self.size if self.size == "image" else list(self.size)
        tile = list(self.tile) if self.tile else None
        return {"statistics": self.statistics, "size": size, "tile": tile, "overlap": self.overlap}

    @property
    def description(self) -> str:
        """The settings in words."""
        working = "each at its own size" if self.size == "image" else "resized to {}x{}".format(*self.size)
        tiles = " in tiles of {}x{} that overlap by {}".format(*self.tile, self.overlap) if self.tile else ""
        return f"{working}{tiles}, {self.statistics} statistics"

    def squeezes(self, size: Size) -> bool:
        """Whether an image of `size` (width, height) is upright while the working size is wide, or the reverse."""
        if self.size == "image":
            return False
        return (size[0] - size[1]) * (self.size[0] - self.size[1]) < 0

    def predict(self, image: Photograph) -> NDArray[np.uint8]:
        """(H, W) uint8 class indices of one image.

        image: the path of a PNG or JPEG file, a PIL image, or (H, W, 3) uint8 RGB, all with the same conversions and
        checks (`loopda.labels.png.photograph`). DataError where it is none of these.
        """
        return self(image).labels

    def adapt(self, images: Iterable[Photograph]) -> None:
        """From now on predict with the statistics of these images, which need no labels: for images that are far from
        those of training, such as another camera's.

        A hundred images are enough; with a few, the predictions depend on which. A prediction then depends on all of
        them. DataError where there is none, and as in a prediction.
        """
        own = self._estimated(images)
        if not own:
            raise DataError("there is no image to estimate statistics on; name one or more")
        self.segmenter.statistics[OWN] = own
        self.statistics = self.segmenter.use_statistics(OWN)

    def far(self, images: Iterable[Photograph]) -> str:
        """A sentence where these images lie far from the statistics in use; "" where they do not, or there is none.

        A few images say little: one of the training images lies at a distance of 0.3 itself.
        """
        own = self._estimated(images)
        self.segmenter.use_statistics(self.statistics)
        return far_from(self.statistics, distances(self.segmenter.statistics, own)) if own else ""

    def _estimated(self, images: Iterable[Photograph]) -> dict[str, Tensor]:
        """The statistics of the images as the network sees them, {} without images. Those of one size share batches."""
        parts = (part for image in images for part in self._parts(photograph(image)))
        first = next(parts, None)
        if first is None:
            return {}
        several = 1 if self.size == "image" and not self.tile else BATCH  # photographs of full size need much memory
        try:
            return estimate_statistics(self.segmenter, _batches(chain([first], parts), several))
        except torch.OutOfMemoryError:
            raise DeviceError(
                f"{several} images of {first.shape[3]}x{first.shape[2]} pixels do not fit into the memory of the"
                " device together; choose a smaller working size (--size), or tiles (--tile)"
            ) from None

    def _parts(self, upright: Image.Image) -> Iterator[Tensor]:
        """What the network sees of an image: (1, 3, H, W), the whole of it, or one tile after the other."""
        images = self._working(upright)
        for here in self._tiles(images) if self.tile else [...]:
            yield images[here]

    def _working(self, upright: Image.Image) -> Tensor:
        """(1, 3, H, W): the image at the working size."""
        working = upright if self.size == "image" else resize_image(upright, self.size)
        return to_images([np.asarray(working)]).to(self.segmenter.shift.device)

    @torch.no_grad()
    def __call__(self, image: Photograph) -> Prediction:
        """The label map of an image and its confidence; DeviceError where the device's memory is too small."""
        upright = photograph(image)
        try:
            images = self._working(upright)
            probabilities = self._tiled(images) if self.tile else class_probabilities(self.segmenter, images)
            size = (upright.height, upright.width)
            labels, confidence = most_likely(probabilities, size, self.segmenter.network.aligned)
            return Prediction(labels[0].cpu().numpy(), confidence[0].cpu().numpy())
        except torch.OutOfMemoryError:
            width, height = upright.size if self.size == "image" else self.size
            raise DeviceError(
                f"an image of {width}x{height} pixels does not fit into the memory of the device; "
                "choose a smaller working size (--size), or tiles (--tile)"
            ) from None

    def _tiled(self, images: Tensor) -> Tensor:
        """(1, K, H, W) class probabilities of images (1, 3, H, W): at each pixel the weighted mean over its tiles."""
        _, _, height, width = images.shape
        total = torch.zeros(1, len(self.classes), height, width, device=images.device)
        weights = torch.zeros(height, width, device=images.device)
        down, across = min(self.tile[1], height), min(self.tile[0], width)
        # a tile's weight falls linearly to its edges over the overlap, where the network has the least context
        weight = _ramp(down, self.overlap)[:, None] * _ramp(across, self.overlap)[None]
        weight = weight.to(images.device)
        for here in self._tiles(images):
            part = class_probabilities(self.segmenter, images[here])
            total[here] += upsample(part, (down, across), self.segmenter.network.aligned) * weight
            weights[here] += weight
        return total / weights

    def _tiles(self, images: Tensor) -> Iterator[tuple[EllipsisType, slice, slice]]:
        """Where the tiles of images (1, 3, H, W) lie."""
        _, _, height, width = images.shape
        down, across = min(self.tile[1], height), min(self.tile[0], width)
        for top in _starts(height, down, self.overlap):
            for left in _starts(width, across, self.overlap):
                yield ..., slice(top, top + down), slice(left, left + across)


def _batches(parts: Iterable[Tensor], several: int) -> Iterator[Tensor]:
    """At most `several` parts of one shape (1, 3, H, W) together."""
    for _, alike in groupby(parts, key=lambda part: part.shape):
        while batch := list(islice(alike, several)):
            yield torch.cat(batch)


def _checked(size: Size | str) -> Size:
    if isinstance(size, list | tuple):
        size = "x".join(str(side) for side in size)
    return parse_size(size if isinstance(size, str) else str(size))


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    """Evenly spaced starts of the fewest tiles that cover `length` pixels and overlap by at least `overlap`."""
    if tile >= length:
        return [0]
    count = -(-(length - overlap) // (tile - overlap))
    return np.linspace(0, length - tile, count).round().astype(int).tolist()


def _ramp(length: int, overlap: int) -> Tensor:
    """(length,): 1 inside, falling linearly towards both ends over `overlap` pixels."""
    at = torch.arange(length)
    return (torch.minimum(at, length - 1 - at) + 1).clamp(max=overlap + 1) / (overlap + 1)
