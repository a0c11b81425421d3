"""Pictures for people: a photograph under the colours of its classes, and what the colours mean."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from loopda.labels.classes import IGNORE, ClassList

OPACITY = 0.5  # of the colours, our choice: at night more hides the photograph, and less leaves the classes alike
GAMMA = 0.65  # brightens the shadows of the photograph, in which little could be told apart below colours
PIXELS_PER_LINE = 640  # of an image's width: the border between two classes is one pixel wide for each of them


def overlay(image: NDArray[np.uint8], label: NDArray[np.uint8], classes: ClassList) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: the image (H, W, 3), brightened, under the colours of its label map (H, W), with pale lines
    between the classes. Pixels without a class (IGNORE) show the image alone."""
    shown = _BRIGHTER[image].astype(np.float32)
    colours = classes.colour_map(label)
    known = (label != IGNORE)[..., None]
    mixed = np.where(known, shown + (colours - shown) * np.float32(OPACITY), shown)
    lines = borders(label, max(1, round(label.shape[1] / PIXELS_PER_LINE)))
    mixed[lines] += (255 - mixed[lines]) * np.float32(0.6)
    return mixed.round().astype(np.uint8)


def borders(label: NDArray[np.uint8], width: int = 1) -> NDArray[np.bool_]:
    """(H, W): the pixels within `width` rows or columns before another class, to the right or below."""
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
