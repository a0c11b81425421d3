"""A contact sheet: rows of captioned pictures for people, as one PNG."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from loopda.runtime.files import written
from loopda.text.names import printable

GAP, CAPTION = 14, 26
_GROUND, _INK, _SIZE = (250, 250, 248), (40, 40, 40), 16


@dataclass(frozen=True)
class Tile:
    """A picture at the size that it is shown in, below its caption, which loses its middle where it is too long."""

    caption: str
    picture: Image.Image


SheetRow = str | Sequence[Tile]  # a heading, or tiles side by side


def write_contact_sheet(path: Path, rows: Sequence[SheetRow]) -> None:
    """Write `rows` below each other as the PNG `path`, atomically."""
    heights = [_SIZE + GAP if isinstance(row, str) else CAPTION + _tallest(row) + GAP for row in rows]
    widths = [sum(tile.picture.width + GAP for tile in row) for row in rows if not isinstance(row, str)]
    sheet = Image.new("RGB", (max(widths) + GAP, sum(heights) + GAP), _GROUND)
    pen = ImageDraw.Draw(sheet)
    y = GAP
    for row, height in zip(rows, heights, strict=True):
        x = GAP
        if isinstance(row, str):
            pen.text((x, y), row, fill=_INK, font_size=_SIZE)
        else:
            for tile in row:
                pen.text((x, y + 4), _fitting(tile, pen), fill=_INK, font_size=_SIZE)
                sheet.paste(tile.picture, (x, y + CAPTION))
                x += tile.picture.width + GAP
        y += height
    with written(path) as temporary:
        sheet.save(temporary)


def _tallest(row: Sequence[Tile]) -> int:
    return max(tile.picture.height for tile in row)


def _fitting(tile: Tile, pen: ImageDraw.ImageDraw) -> str:
    caption = printable(tile.caption)
    text, kept = caption, len(caption)
    while kept > 2 and pen.textlength(text, font_size=_SIZE) > tile.picture.width:
        kept -= 1
        text = f"{caption[: kept // 2]}…{caption[-(kept - kept // 2) :]}"
    return text
