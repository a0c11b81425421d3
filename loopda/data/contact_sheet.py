"""A contact sheet of data sets for people: a few images of each, with their labels in the colours of the classes, and
their references. Labels that are read as another kind than they are, or references of another place, are seen at once.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from loopda.data.dataset import Frames
from loopda.data.manifest import Row
from loopda.data.sampling import evenly
from loopda.labels.classes import ClassList
from loopda.labels.sheet import GAP, Tile, write_sheet
from loopda.text.names import printable

IMAGES = 4  # of each set
TILE_WIDTH = 320
_BLANK = (225, 225, 222)
_LEGEND_HEIGHT = 16


def contact_sheet(path: Path, sets: Mapping[str, Sequence[Row]], classes: ClassList) -> None:
    """Write the sheet of `sets` (name -> checked rows): up to IMAGES of each, spread evenly over it, scaled to tiles
    with the shape of the first."""
    lines: list[str | list[Tile]] = ["the classes", *_legend(classes)]
    for name, rows in sets.items():
        labels, references = (sum(bool(getattr(row, role)) for row in rows) for role in ("label", "reference"))
        lines.append(f"{name}: {len(rows)} images, {labels} with a label map, {references} with a day reference")
        lines += _tiles([rows[number] for number in evenly(len(rows), IMAGES)], classes)
    write_sheet(path, lines)


def _tiles(rows: Sequence[Row], classes: ClassList) -> list[list[Tile]]:
    """A line of images, one of label maps where any has one, and one of references where any has one."""
    size = (TILE_WIDTH, max(1, round(TILE_WIDTH * rows[0].height / rows[0].width)))
    frames = Frames(rows, classes, size, threads=1)
    blank = Image.new("RGB", size, _BLANK)
    lines = [
        [
            Tile(f"{row.image.name}, {row.width}x{row.height}", Image.fromarray(frames.image(number)))
            for number, row in enumerate(rows)
        ]
    ]
    if any(row.label for row in rows):
        lines.append(
            [
                Tile(f"label map, read as {row.encoding}", _coloured(frames.label(number), classes))
                if row.label
                else Tile("no label map", blank)
                for number, row in enumerate(rows)
            ]
        )
    if any(row.reference for row in rows):
        lines.append(
            [
                Tile(f"day: {row.reference.name}", Image.fromarray(frames.reference(number)))
                if row.reference
                else Tile("no reference", blank)
                for number, row in enumerate(rows)
            ]
        )
    return lines


def _coloured(label: np.ndarray, classes: ClassList) -> Image.Image:
    return Image.fromarray(classes.colour_map(label))


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
