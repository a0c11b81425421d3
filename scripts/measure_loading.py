"""How many training images one core loads per second, with and without the cache on the disk.

    python scripts/measure_loading.py [--images FOLDER] [--steps 100]

Makes labelled batches of two crops of 512x496 from images of 2048x1024 resized to 1024x512, the paper's sizes, in one
thread, from a set too large for the memory. Without a folder of PNG or JPEG images, some are made: smooth shapes
with sensor noise, whose files are about as large as those of Cityscapes.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from loopda.data import dataset
from loopda.data.batches import day_batch
from loopda.data.dataset import Frames
from loopda.data.images import find_images
from loopda.data.manifest import Row
from loopda.labels.classes import CITYSCAPES
from loopda.text.encoding import begin_program

FILE, SIZE, CROP = (2048, 1024), (1024, 512), (512, 496)
BATCH, COUNT = 2, 16


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images")
    parser.add_argument("--steps", type=int, default=100)
    arguments = parser.parse_args()
    dataset.MEMORY = 0
    with tempfile.TemporaryDirectory() as folder:
        rows = given(arguments.images) if arguments.images else made(Path(folder) / "images")
        os.environ.pop("LOOPDA_CACHE", None)
        print(f"decoded each time: {speed(rows, arguments.steps):.1f} images/s")
        os.environ["LOOPDA_CACHE"] = f"{folder}/cache"
        started = time.perf_counter()
        frames = Frames(rows, CITYSCAPES, SIZE)
        for index in range(len(frames)):
            frames.image(index), frames.label(index)
        print(f"filling the cache: {len(frames) / (time.perf_counter() - started):.1f} images/s")
        print(f"from the cache: {speed(rows, arguments.steps):.1f} images/s")


def speed(rows: list[Row], steps: int) -> float:
    """Images per second of labelled batches."""
    frames = Frames(rows, CITYSCAPES, SIZE)
    started = time.perf_counter()
    for step in range(1, steps + 1):
        day_batch(frames, step, batch_size=BATCH, crop=CROP, seed=0)
    return steps * BATCH / (time.perf_counter() - started)


def given(folder: str) -> list[Row]:
    """The images of a folder, without labels."""
    return [Row(source.path) for source in find_images([folder]).sources]


def made(folder: Path) -> list[Row]:
    """COUNT images with labels, in PNG files."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for number in range(COUNT):
        coarse = Image.fromarray(rng.integers(0, 256, (16, 32, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize(FILE, Image.Resampling.BICUBIC), dtype=np.float32)
        pixels = (smooth + rng.normal(0, 1.5, smooth.shape)).clip(0, 255).astype(np.uint8)
        row = Row(folder / f"{number}.png", folder / f"{number}_labelIds.png", None, "labelIds")
        Image.fromarray(pixels).save(row.image)
        ids = Image.fromarray(rng.integers(7, 34, (16, 32), dtype=np.uint8))
        ids.resize(FILE, Image.Resampling.NEAREST).save(row.label)
        rows.append(row)
    return rows


if __name__ == "__main__":
    begin_program()
    main()
