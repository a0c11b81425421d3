"""Pictures inside the page: photographs and label maps as data URIs."""

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from loopda.errors import DataError
from loopda.labels.classes import CITYSCAPES, IGNORE, INDICES
from loopda.labels.png import read_image, read_label

_JPEG_QUALITY = 88  # our choice: no visible blocks at the size of the page, a quarter of the bytes of a PNG
_PALETTE_COLOURS = 256


def picture(path: Path, width: int) -> str:
    """A picture as a data URI, at most `width` pixels wide. Drawings of few colours are PNG, photographs JPEG."""
    image = read_image(path)
    if image.getcolors(_PALETTE_COLOURS) is None:
        return _jpeg(_narrowed(image, width, Image.Resampling.LANCZOS))
    return _png(_narrowed(image, width, Image.Resampling.NEAREST).quantize(_PALETTE_COLOURS, dither=Image.Dither.NONE))


def label_picture(path: Path, names: list[str], colours: np.ndarray, width: int, encoding: str = INDICES) -> str:
    """A label map in the colours of its classes, black where it has none, as a data URI.

    colours: (C, 3) uint8. encoding: how the file stores classes; `indices`, or one of Cityscapes' own.
    """
    raw = read_label(path)
    if encoding != INDICES:
        if tuple(names) != CITYSCAPES.names:
            raise DataError(
                f"{path}: a label map in {encoding}, which the class list of the scores does not explain;"
                " `evaluate` must name a map of class indices"
            )
        raw = CITYSCAPES.lookup_table(encoding)[raw]
    foreign = sorted(set(np.unique(raw).tolist()) - {*range(len(names)), IGNORE})
    if foreign:
        raise DataError(
            f"{path}: ids {foreign} are outside the {len(names)} classes; `evaluate` must name class indices"
        )
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[: len(colours)] = colours
    image = Image.frombytes("P", (raw.shape[1], raw.shape[0]), raw.tobytes())
    image.putpalette(palette.tobytes())
    return _png(_narrowed(image, width, Image.Resampling.NEAREST))


def encoding_of(path: str, stated: str) -> str:
    """The encoding of a label file: as stated, else by the ending of its name, as in Cityscapes."""
    return stated or ("labelIds" if path.endswith("_labelIds.png") else INDICES)


def _narrowed(image: Image.Image, width: int, method: Image.Resampling) -> Image.Image:
    if image.width <= width:
        return image
    return image.resize((width, max(1, round(image.height * width / image.width))), method)


def _png(image: Image.Image) -> str:
    return _uri(image, "png", optimize=True)


def _jpeg(image: Image.Image) -> str:
    return _uri(image, "jpeg", quality=_JPEG_QUALITY, subsampling=0)  # optimize=True fails on images of noise


def _uri(image: Image.Image, kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format=kind.upper(), **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
