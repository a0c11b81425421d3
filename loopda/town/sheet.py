"""A contact sheet of the town for people: day and night, truth beside them, a near and a far pair."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from loopda.files import written
from loopda.labels.classes import CITYSCAPES
from loopda.town.write import Frame, Pair, cityscapes_frames, draw

TILE_WIDTH = 512
GAP, TITLE = 14, 26


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
    sheet = Image.new("RGB", (4 * (tile[0] + GAP) + GAP, len(rows) * (tile[1] + TITLE + GAP) + GAP), (250, 250, 248))
    pen = ImageDraw.Draw(sheet)
    drawn: dict[Frame, tuple[np.ndarray, np.ndarray]] = {}
    for r, row in enumerate(rows):
        for c, (title, frame, classes) in enumerate(row):
            if frame not in drawn:
                drawn[frame] = draw(frame, seed=seed, width=width, height=height, supersample=supersample)
            picture, label = drawn[frame]
            x, y = GAP + c * (tile[0] + GAP), GAP + r * (tile[1] + TITLE + GAP)
            pen.text((x, y + 4), title, fill=(40, 40, 40), font_size=16)
            shown = Image.fromarray(CITYSCAPES.colour_map(label) if classes else picture)
            how = Image.Resampling.NEAREST if classes or width <= tile[0] else Image.Resampling.LANCZOS
            sheet.paste(shown.resize(tile, how), (x, y + TITLE))
    with written(path) as temporary:
        sheet.save(temporary)
