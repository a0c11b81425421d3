"""The images of a manifest, decoded, resized, and kept in memory as bytes when that is asked for."""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from loopda.config import Section
from loopda.data.cache import cached
from loopda.data.manifest import Row, read_manifest
from loopda.data.sampling import prefetched
from loopda.errors import ConfigError, DataError
from loopda.labels.class_files import load_classes
from loopda.labels.classes import COLOURS, IGNORE, ClassList
from loopda.labels.png import read_image, read_label
from loopda.runtime.signals import interruptible

Size = tuple[int, int]  # (width, height), as Pillow and the data sets' papers write it

MEMORY = 4 * 2**30  # bytes of decoded images up to which a set is kept in memory

SHORTEST = 16  # pixels of a side; below that, the deepest features of a network have no extent
Length = Annotated[int, Field(ge=SHORTEST)]

_files_read: ContextVar[list[Path] | None] = ContextVar("files read", default=None)


class Input(Section):
    """The section `input`: the size (width, height) that every image gets, and the crop that training takes of it.

    source_size: that of the labelled day images, `source` and `day_val`, where they have another shape than the others.
    """

    size: tuple[Length, Length]
    crop: tuple[Length, Length]
    source_size: tuple[Length, Length] | None = None

    @property
    def labelled_day(self) -> Size:
        """The size of the labelled day images."""
        return self.source_size or self.size


class Frames:
    """Decoded images (and labels) by index, at one size.

    images resize by Pillow's bicubic filter, labels by nearest, as all of this literature does. A set of at most
    MEMORY bytes is decoded once, with `threads` threads: decoding is the slowest part of loading. A larger one is
    decoded again and again, unless there is a cache on the disk (`loopda.data.cache`).
    """

    def __init__(self, rows: Sequence[Row], classes: ClassList, size: Size, *, threads: int = 2):
        self.rows, self.classes, self.size = list(rows), classes, size
        files = len({path for row in rows for path in (row.image, row.reference, row.label) if path})
        memory = files * size[0] * size[1] * 3 <= MEMORY
        self._images: dict[Path, NDArray[np.uint8]] | None = {} if memory else None
        self._labels: dict[Path, NDArray[np.uint8]] | None = {} if memory else None
        if memory:
            paths = {path for row in rows for path in (row.image, row.reference) if path}
            for work, items in ((self._image, sorted(paths)), (self._label, [row for row in rows if row.label])):
                deque(interruptible(prefetched(work, items, workers=threads)), maxlen=0)

    def __len__(self) -> int:
        return len(self.rows)

    def image(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB."""
        return self._image(self.rows[index].image)

    def label(self, index: int) -> NDArray[np.uint8]:
        """(H, W) uint8 class indices, 255 = ignore; all 255 when the row has no label."""
        row = self.rows[index]
        if not row.label:
            return np.full(self.size[::-1], IGNORE, dtype=np.uint8)
        return self._label(row)

    def label_of_file(self, index: int) -> NDArray[np.uint8]:
        """As `label`, at the size of the label's file; read each time."""
        row = self.rows[index]
        if not row.label:
            return np.full((row.height, row.width), IGNORE, dtype=np.uint8)
        return self.classes.lookup_table(row.encoding)[read_label(row.label, row.encoding, self.classes)]

    def class_shares(self) -> NDArray[np.float64]:
        """The share of each class among the labelled pixels of the set, (K,), sum 1; DataError without such a pixel."""
        counts = np.zeros(len(self.classes), dtype=np.int64)
        for index in range(len(self)):
            counts += np.bincount(self.label(index).ravel(), minlength=IGNORE + 1)[: len(self.classes)]
        if not counts.any():
            raise DataError(f"{self.rows[0].image} and the images after it have no labelled pixel")
        return counts / counts.sum()

    def reference(self, index: int) -> NDArray[np.uint8] | None:
        """The day reference of a night image, (H, W, 3) uint8 RGB, or None when it has none."""
        path = self.rows[index].reference
        return self._image(path) if path else None

    def _image(self, path: Path) -> NDArray[np.uint8]:
        if (files := _files_read.get()) is not None:
            files.append(path)
        if self._images is not None and path in self._images:
            return self._images[path]
        array = cached(path, f"image {self.size}", lambda: np.asarray(resize_image(read_image(path), self.size)))
        if self._images is not None:
            self._images[path] = array = np.array(array)  # a mapped one would hold a mapping each
        return array

    def _reading(self, encoding: str) -> str:
        """What the ids of a label file depend on besides its bytes."""
        if encoding != COLOURS:
            return encoding
        return f"{encoding} {self.classes.colours} {sorted(self.classes.void_colours)}"

    def _label(self, row: Row) -> NDArray[np.uint8]:
        if self._labels is not None and row.label in self._labels:
            return self._labels[row.label]
        raw = cached(
            row.label,
            f"label {self._reading(row.encoding)} {self.size}",
            lambda: resize_label(read_label(row.label, row.encoding, self.classes), self.size),
        )
        array = self.classes.lookup_table(row.encoding)[raw]
        if self._labels is not None:
            self._labels[row.label] = array
        return array


@contextmanager
def files_read() -> Iterator[list[Path]]:
    """The image files that this thread asks any Frames for in the block, in order."""
    files: list[Path] = []
    _files_read.set(files)
    try:
        yield files
    finally:
        _files_read.set(None)


def resize_image(image: Image.Image, size: Size) -> Image.Image:
    """An image at `size` (width, height), by Pillow's bicubic filter, which averages where it makes smaller."""
    return image if image.size == tuple(size) else image.resize(size, Image.Resampling.BICUBIC)


def resize_label(label: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """A label map at `size` (width, height), by nearest neighbour."""
    if label.shape == (size[1], size[0]):
        return label
    return np.asarray(Image.fromarray(label).resize(size, Image.Resampling.NEAREST))


def parse_size(text: str) -> Size:
    """ "960x540" -> (960, 540); ConfigError for what is not two whole numbers of at least SHORTEST pixels."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or min(map(int, match.groups())) < SHORTEST:
        raise ConfigError(f"{text!r} is no size; write WIDTHxHEIGHT, such as 960x540, each at least {SHORTEST} pixels")
    return int(match[1]), int(match[2])


def open_frames(manifest: Path, classes: Path, size: Size, *, threads: int = 2) -> Frames:
    """The frames of a manifest and a class list that `prepare` wrote."""
    return Frames(read_manifest(manifest), load_classes(classes), size, threads=threads)
