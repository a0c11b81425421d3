"""A contact sheet of the town for people: day and night, truth beside them, a near and a far pair."""

from pathlib import Path

import numpy as np
from PIL import Image

from loopda.labels.classes import CITYSCAPES
from loopda.labels.sheet import Tile, write_sheet
from loopda.town.write import Frame, Pair, cityscapes_frames, draw

TILE_WIDTH = 512


def contact_sheet(path: Path, pairs: list[Pair], *, seed: int, width: int, height: int, supersample: int) -> None:
    """The frames exactly as the data sets hold them, enlarged without smoothing, or shrunk, to a tile."""
    near = [pair for pair in pairs if pair.night.near]
    far = [pair for pair in pairs if not pair.night.near]
    rows: list[list[tuple[str, Frame, bool]]] = []
    for frame in cityscapes_frames("train", 400)[1:3]:
        rows.append([("source: day", frame, False), ("source: true classes", frame, True)])
    for title, group in (("near pair", near), ("far pair", far)):
        for pair in group[:2]:
            rows.append(
                [
                    (f"{title}: night", pair.night, False),
                    (f"{title}: true classes at night", pair.night, True),
                    (f"{title}: day reference", pair.day, False),
                    (f"{title}: true classes by day", pair.day, True),
                ]
            )
    rows = [rows[0] + rows[1], *rows[2:]]
    tile = (TILE_WIDTH, round(TILE_WIDTH * height / width))
    drawn: dict[Frame, tuple[np.ndarray, np.ndarray]] = {}
    lines = []
    for row in rows:
        line = []
        for title, frame, classes in row:
            if frame not in drawn:
                drawn[frame] = draw(frame, seed=seed, width=width, height=height, supersample=supersample)
            picture, label = drawn[frame]
            shown = Image.fromarray(CITYSCAPES.colour_map(label) if classes else picture)
            how = Image.Resampling.NEAREST if classes or width <= tile[0] else Image.Resampling.LANCZOS
            line.append(Tile(title, shown.resize(tile, how)))
        lines.append(line)
    write_sheet(path, lines)
