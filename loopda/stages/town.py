"""Stage `town`: draw the built-in world and write it as Cityscapes (day) and Dark Zurich (night)."""

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from pydantic import Field

from loopda.config import Section
from loopda.data.layouts.table import write_oracle
from loopda.data.manifest import Row
from loopda.data.poses import PairDistance, write_poses
from loopda.errors import DeviceError
from loopda.labels.classes import CITYSCAPES
from loopda.labels.contact_sheet import write_contact_sheet
from loopda.runtime.command import command, writes
from loopda.runtime.files import sha256, write_json, write_text
from loopda.runtime.log import Log, duration
from loopda.runtime.progress import report_progress
from loopda.runtime.signals import interruptible, leave_to_parent
from loopda.town import write
from loopda.town.sheet import town_rows
from loopda.town.write import Frame, cityscapes_frames, dark_zurich_pairs, distance, test_frames


class Config(Section):
    """What the town holds. Counts are images; 64 x 32 serves tests, 1024 x 512 is half Cityscapes' size."""

    seed: int = Field(default=0, ge=0)
    width: int = Field(default=256, ge=32, le=2048)
    height: int = Field(default=128, ge=16, le=1024)
    source_train: int = Field(default=400, ge=1, le=100_000)
    source_val: int = Field(default=60, ge=1, le=100_000)
    night_train: int = Field(default=400, ge=1, le=100_000)
    night_val: int = Field(default=60, ge=1, le=100_000)
    day_test: int = Field(default=0, ge=0, le=100_000)
    night_test: int = Field(default=0, ge=0, le=100_000)
    near_fraction: float = Field(default=0.5, ge=0, le=1)  # of the pairs, from almost the same pose
    supersample: int = Field(default=2, ge=1, le=4)  # samples per pixel and axis


@writes("summary")
def run(*, config: Config, summary: Path, poses: Path, oracle: Path, sheet: Path, log: Path, workers: int = 1) -> None:
    """Write the folders Cityscapes and DarkZurich beside `summary`, and last `summary` itself (town.json).

    poses: the true distance of each pair (CSV). oracle: a table of the night training images with their true labels,
    which no method may read, for `layout: table`; the labels lie in the folder `oracle` beside `summary`. sheet: a
    contact sheet. The same config gives the same bytes, whatever the number of `workers`. An interrupted run leaves no
    `summary`; the same command starts again.
    """
    logger = Log(log, "town")
    root = summary.parent
    summary.unlink(missing_ok=True)
    pairs = {
        split: dark_zurich_pairs(split, count, seed=config.seed, near_fraction=config.near_fraction)
        for split, count in (("train", config.night_train), ("val", config.night_val))
    }
    frames = cityscapes_frames("train", config.source_train) + cityscapes_frames("val", config.source_val)
    frames += [pair.night for split in pairs for pair in pairs[split]]
    frames += list({pair.day.image: pair.day for split in pairs for pair in pairs[split]}.values())
    frames += test_frames(config.day_test, config.night_test, seed=config.seed, near_fraction=config.near_fraction)

    write.remove_stale(root, frames)

    # draw and write every frame
    size = {"width": config.width, "height": config.height, "supersample": config.supersample}
    draw = partial(write.write, root=root, seed=config.seed, **size)
    pixels: dict[str, np.ndarray] = {}
    for frame, count in zip(frames, _progress(_drawn(draw, frames, workers), len(frames), logger), strict=True):
        name = _split_of(frame)
        pixels[name] = pixels.get(name, 0) + count

    # write the lists
    rows = [f"{_pair_name(pair.night)},{_pair_name(pair.day)}\n" for pair in pairs["train"]]
    write_text(root / "DarkZurich" / "zurich_dn_pair_train.csv", "".join(rows))
    distances = [
        PairDistance(Path(pair.night.image), Path(pair.day.image), *distance(pair, config.seed))
        for pair in pairs["train"] + pairs["val"]
    ]
    write_poses(poses, distances)
    nights = [pair.night for pair in pairs["train"]]
    write_oracle(oracle, [Row(root / night.image, root / night.oracle) for night in nights])
    write_contact_sheet(sheet, town_rows(pairs["train"], seed=config.seed, **size))

    # write the summary
    write_json(
        summary,
        {
            "config": config.model_dump(),
            "images": {name: sum(_split_of(frame) == name for frame in frames) for name in pixels},
            "pairs": len(pairs["train"]),
            "classes": list(CITYSCAPES.names),
            "frequency": {name: [round(float(v), 6) for v in count / count.sum()] for name, count in pixels.items()},
            "sha256": _fingerprint(root, frames, [poses, sheet]),
        },
    )


def _drawn(draw: partial, frames: list[Frame], workers: int) -> Iterator[np.ndarray]:
    """The pixel counts of the frames, in order, drawn by `workers` processes."""
    if workers == 1:
        yield from interruptible(map(draw, frames))
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=leave_to_parent)
    try:
        yield from interruptible(pool.map(draw, frames, chunksize=4))
    except BrokenProcessPool:
        raise DeviceError("a process that draws was killed, perhaps for lack of memory; use fewer --workers") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _progress(counts: Iterator[np.ndarray], total: int, logger: Log) -> Iterator[np.ndarray]:
    """Yield `counts`, and report the progress after each."""
    begin = time.monotonic()
    for done, count in enumerate(counts, start=1):
        yield count
        speed = done / max(time.monotonic() - begin, 1e-6)
        report_progress(logger.path, step=done, steps=total, seconds_left=(total - done) / speed)
        logger.progress(
            f"frame {done}/{total}  {speed:.1f} frames/s  {duration((total - done) / speed)} left",
            final=done == total,
        )


def _split_of(frame: Frame) -> str:
    return frame.split if frame.night or frame.split.startswith("source") else f"{frame.split}_reference"


def _pair_name(frame: Frame) -> str:
    """As the pair list names it: relative to rgb_anon, without suffix."""
    return frame.image.removeprefix("DarkZurich/rgb_anon/").removesuffix("_rgb_anon.png")


def _fingerprint(root: Path, frames: list[Frame], others: list[Path]) -> str:
    """One SHA-256 over names and bytes of everything written that a method may read."""
    names = [name for frame in frames for name in (frame.image, *frame.labels)]
    paths = {name: root / name for name in [*names, "DarkZurich/zurich_dn_pair_train.csv"]}
    paths |= {path.name: path for path in others}
    total = hashlib.sha256()
    for name, path in sorted(paths.items()):
        total.update(f"{name} {sha256(path)}\n".encode())
    return total.hexdigest()


if __name__ == "__main__":
    command(run)
