"""Images and label maps of manifests as tiles of a contact sheet (`loopda.labels.contact_sheet`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from loopda.data.dataset import Size, resize_image, resize_label
from loopda.data.manifest import Row
from loopda.data.sampling import evenly
from loopda.labels.classes import ClassList
from loopda.labels.contact_sheet import GAP, SheetRow, Tile
from loopda.labels.png import read_image, read_label
from loopda.text.names import printable

TILE_WIDTH = 320
IMAGES = 4  # of each data set
_BLANK = (225, 225, 222)
_LEGEND_HEIGHT = 16


def tile_size(row: Row) -> Size:
    """The size (width, height) of a tile with the shape of the image of `row`."""
    return TILE_WIDTH, max(1, round(TILE_WIDTH * row.height / row.width))


def photograph(caption: str, image: Path, size: Size) -> Tile:
    """The image file at `size`."""
    return Tile(caption, resize_image(read_image(image), size))


def class_map(caption: str, label: np.ndarray, classes: ClassList, size: Size) -> Tile:
    """A label map (H, W) of class indices, in the colours of the classes, at `size`."""
    return Tile(caption, Image.fromarray(classes.colour_map(resize_label(label, size))))


def data_set_rows(sets: Mapping[str, Sequence[Row]], classes: ClassList) -> list[SheetRow]:
    """A legend, then up to IMAGES images of each data set (name -> checked rows), spread evenly over it, with their
    label maps in the colours of the classes and their references.

    Labels that are read as another kind than they are, or references of another place, are seen at once.
    """
    lines: list[SheetRow] = ["the classes", *_legend(classes)]
    for name, rows in sets.items():
        labels, references = (sum(bool(getattr(row, role)) for row in rows) for role in ("label", "reference"))
        lines.append(f"{name}: {len(rows)} images, {labels} with a label map, {references} with a day reference")
        lines += _set_rows([rows[index] for index in evenly(len(rows), IMAGES)], classes)
    return lines


def _set_rows(rows: Sequence[Row], classes: ClassList) -> list[SheetRow]:
    """A line of images, one of label maps where any has one, and one of references where any has one."""
    size = tile_size(rows[0])
    blank = Image.new("RGB", size, _BLANK)
    lines = [[photograph(f"{row.image.name}, {row.width}x{row.height}", row.image, size) for row in rows]]
    if any(row.label for row in rows):
        lines.append([_label_map(row, classes, size) if row.label else Tile("no label map", blank) for row in rows])
    if any(row.reference for row in rows):
        lines.append(
            [
                photograph(f"day: {row.reference.name}", row.reference, size)
                if row.reference
                else Tile("no reference", blank)
                for row in rows
            ]
        )
    return lines


def _label_map(row: Row, classes: ClassList, size: Size) -> Tile:
    label = classes.lookup_table(row.encoding)[read_label(row.label, row.encoding, classes)]
    return class_map(f"label map, read as {row.encoding}", label, classes, size)


def _legend(classes: ClassList) -> list[list[Tile]]:
    """Lines with a patch of its colour for each class, below its name, and black for what is void."""
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    lines: list[list[Tile]] = [[]]
    room = IMAGES * (TILE_WIDTH + GAP)
    for name, colour in [*zip(classes.names, classes.colours, strict=True), ("void", (0, 0, 0))]:
        width = min(TILE_WIDTH, round(pen.textlength(printable(name), font_size=_LEGEND_HEIGHT)) + 1)
        if lines[-1] and width + sum(tile.picture.width + GAP for tile in lines[-1]) > room:
            lines.append([])
        lines[-1].append(Tile(name, Image.new("RGB", (width, _LEGEND_HEIGHT), colour)))
    return lines
