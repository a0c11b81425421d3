"""The town on a contact sheet for people: day and night with their true classes, near and far pairs."""

import numpy as np
from PIL import Image

from loopda.labels.classes import CITYSCAPES
from loopda.labels.contact_sheet import SheetRow, Tile
from loopda.town.write import Frame, Pair, cityscapes_frames, draw

TILE_WIDTH = 512


def town_rows(pairs: list[Pair], *, seed: int, width: int, height: int, supersample: int) -> list[SheetRow]:
    """Two frames of the source, then two near and two far pairs of `pairs`, exactly as the data sets hold them,
    enlarged without smoothing, or shrunk, to a tile."""
    tile = (TILE_WIDTH, round(TILE_WIDTH * height / width))
    drawn: dict[Frame, tuple[np.ndarray, np.ndarray]] = {}

    def tiles(frame: Frame, picture_caption: str, classes_caption: str) -> list[Tile]:
        if frame not in drawn:
            drawn[frame] = draw(frame, seed=seed, width=width, height=height, supersample=supersample)
        picture, label = drawn[frame]
        smooth = Image.Resampling.NEAREST if width <= tile[0] else Image.Resampling.LANCZOS
        classes = Image.fromarray(CITYSCAPES.colour_map(label))
        return [
            Tile(picture_caption, Image.fromarray(picture).resize(tile, smooth)),
            Tile(classes_caption, classes.resize(tile, Image.Resampling.NEAREST)),
        ]

    source = [tiles(frame, "source: day", "source: true classes") for frame in cityscapes_frames("train", 400)[1:3]]
    rows: list[SheetRow] = [source[0] + source[1]]
    for title, near in (("near pair", True), ("far pair", False)):
        for pair in [pair for pair in pairs if pair.night.near == near][:2]:
            night = tiles(pair.night, f"{title}: night", f"{title}: true classes at night")
            rows.append(night + tiles(pair.day, f"{title}: day reference", f"{title}: true classes by day"))
    return rows
