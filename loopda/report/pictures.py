"""Pictures inside the page: photographs and label maps as data URIs."""

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from loopda.errors import DataError
from loopda.labels.classes import IGNORE
from loopda.labels.png import read_image, read_label

_JPEG_QUALITY = 88  # our choice: no visible blocks at the size of the page, a quarter of the bytes of a PNG
_PALETTE_COLOURS = 256


def picture(path: Path, width: int) -> str:
    """A picture as a data URI, at most `width` pixels wide. Drawings of few colours are PNG, photographs JPEG."""
    image = read_image(path)
    if image.getcolors(_PALETTE_COLOURS) is None:
        return _jpeg(_narrowed(image, width, Image.Resampling.LANCZOS))
    return _png(_narrowed(image, width, Image.Resampling.NEAREST).quantize(_PALETTE_COLOURS, dither=Image.Dither.NONE))


def label_picture(path: Path, colours: np.ndarray, width: int) -> str:
    """A map of class indices in the colours (K, 3) uint8 of the classes, black where it has none, as a data URI."""
    label = read_label(path)
    foreign = sorted(set(np.unique(label).tolist()) - {*range(len(colours)), IGNORE})
    if foreign:
        raise DataError(
            f"{path}: ids {foreign} are outside the {len(colours)} classes; `evaluate` must name class indices"
        )
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[: len(colours)] = colours
    image = Image.frombytes("P", (label.shape[1], label.shape[0]), label.tobytes())
    image.putpalette(palette.tobytes())
    return _png(_narrowed(image, width, Image.Resampling.NEAREST))


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
