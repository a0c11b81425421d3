"""Pictures of predictions: a photograph with the colours of its classes over it, and a legend of the colours."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from loopda.labels.classes import IGNORE, ClassList

OPACITY = 0.5  # of the colours [ours]: at night, more hides the photograph, and less makes the classes look alike
GAMMA = 0.65  # brightens the shadows of the photograph, which would be too dark under the colours
PIXELS_PER_LINE = 640  # the border between two classes is one pixel wide for every 640 pixels of the image's width


def overlay(image: NDArray[np.uint8], label: NDArray[np.uint8], classes: ClassList) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: the brightened image (H, W, 3) with the colours of its label map (H, W) over it.

    Pale lines separate the classes. Pixels without a class (IGNORE) show the image alone.
    """
    shown = _BRIGHTER[image].astype(np.float32)
    colours = classes.colour_map(label)
    known = (label != IGNORE)[..., None]
    mixed = np.where(known, shown + (colours - shown) * np.float32(OPACITY), shown)
    lines = borders(label, max(1, round(label.shape[1] / PIXELS_PER_LINE)))
    mixed[lines] += (255 - mixed[lines]) * np.float32(0.6)
    return mixed.round().astype(np.uint8)


def borders(label: NDArray[np.uint8], width: int = 1) -> NDArray[np.bool_]:
    """(H, W): the pixels with another class within `width` pixels to the right or below."""
    found = np.zeros(label.shape, dtype=bool)
    for distance in range(1, width + 1):
        found[:, :-distance] |= label[:, :-distance] != label[:, distance:]
        found[:-distance] |= label[:-distance] != label[distance:]
    return found


def legend(classes: ClassList) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: the colour of each class beside its name, one class a row."""
    row, swatch, margin = 28, 44, 10
    font = ImageFont.load_default(16)
    width = round(max(font.getlength(name) for name in classes.names)) + swatch + 3 * margin
    image = Image.new("RGB", (width, row * len(classes) + 2 * margin), "white")
    draw = ImageDraw.Draw(image)
    for number, (name, colour) in enumerate(zip(classes.names, classes.colours, strict=True)):
        top = margin + number * row
        draw.rectangle((margin, top + 4, margin + swatch, top + row - 4), fill=colour)
        draw.text((2 * margin + swatch, top + row / 2), name, fill="black", font=font, anchor="lm")
    return np.asarray(image)


_BRIGHTER = (255 * (np.arange(256) / 255) ** GAMMA).round().astype(np.uint8)
