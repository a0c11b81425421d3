"""Frames of the town on disk, in the layouts and with the names of Cityscapes and Dark Zurich."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from loopda.labels.classes import CITYSCAPES
from loopda.town.camera import Camera
from loopda.town.lighting import (
    light_by_day,
    light_by_night,
    photograph_day,
    photograph_night,
    sample_day,
    sample_night,
)
from loopda.town.renderer import draw_bonnet, render
from loopda.town.scenes import Place, needs_of, sample_camera, visit
from loopda.town.world import VOID

CITIES = {
    "train": ("altenfurt", "brunnach", "lindstadt", "moosingen", "waldau"),
    "val": ("hohenbruck", "seeheim"),
    "test": ("dornau", "kirchfeld", "tannwalde"),
}
# recordings of the night sets with those of their references
RECORDINGS = {
    "train": (("GOPR0801", "GOPR0811"), ("GOPR0802", "GOPR0812"), ("GP010802", "GP010812")),
    "val": (("GOPR0806", "GOPR0806_ref"),),
    "test": (("GOPR0807", "GOPR0807_ref"), ("GOPR0808", "GOPR0808_ref")),
}
EGO_VEHICLE = 1  # labelId of the ego vehicle
LABEL_IDS = np.full(256, EGO_VEHICLE, np.uint8)
LABEL_IDS[: len(CITYSCAPES)] = [ids[0] for ids in CITYSCAPES.encodings["labelIds"].ids]
SPLITS = {
    "source_train": 11,
    "source_val": 12,
    "night_train": 13,
    "night_val": 14,
    "source_test": 15,
    "night_test": 16,
}


@dataclass(frozen=True)
class Frame:
    """One image to write; paths are relative to the town's folder, a label's suffix tells its kind."""

    split: str
    place: int  # index of the place within the split
    moment: int  # 0 = the day visit, others = night visits
    night: bool
    image: str
    labels: tuple[str, ...]
    near: bool = True
    oracle: str = ""  # a label that no method sees, outside of both data sets


@dataclass(frozen=True)
class Pair:
    """A night frame and the day reference of the same place."""

    night: Frame
    day: Frame


def cityscapes_frames(split: str, count: int) -> list[Frame]:
    """`count` labelled day frames of `split` train, val or test."""
    frames = []
    for i in range(count):
        city = CITIES[split][i * len(CITIES[split]) // count]
        stem = f"{city}_{i:06d}_000019"
        truth = f"Cityscapes/gtFine/{split}/{city}/{stem}_gtFine"
        frames.append(
            Frame(
                f"source_{split}", i, 0, False,
                f"Cityscapes/leftImg8bit/{split}/{city}/{stem}_leftImg8bit.png",
                (f"{truth}_labelIds.png", f"{truth}_color.png"),
            )
        )  # fmt: skip
    return frames


def dark_zurich_pairs(split: str, count: int, *, seed: int, near_fraction: float) -> list[Pair]:
    """`count` night frames with references; in `train`, about a third share another night's reference."""
    rng = np.random.default_rng([seed, SPLITS[f"night_{split}"], 0])
    pairs: list[Pair] = []
    place, moment = -1, 0
    near_sum = 0.0
    for i in range(count):
        oracle = ""
        recording, day_recording = RECORDINGS[split][i * len(RECORDINGS[split]) // count]
        changed = bool(pairs) and f"/{recording}/" not in pairs[-1].night.image
        if split != "train" or not pairs or changed or moment >= 2 or rng.random() < 0.6:
            place, moment = place + 1, 1
        else:
            moment += 1
        # near and far spread evenly, so that every small data set has both
        near_sum += near_fraction
        near = near_sum >= 1 - 1e-9
        near_sum -= near
        stem = f"{recording}_frame_{i + 1:06d}"
        if split == "train":
            image = f"DarkZurich/rgb_anon/train/night/{recording}/{stem}_rgb_anon.png"
            day_stem = f"{day_recording}_frame_{place + 1:06d}"
            reference = f"DarkZurich/rgb_anon/train/day/{day_recording}/{day_stem}_rgb_anon.png"
            labels: tuple[str, ...] = ()
            oracle = f"oracle/{recording}/{stem}_gt_labelIds.png"
        else:
            image = f"DarkZurich/rgb_anon/{split}/night/{recording}/{stem}_rgb_anon.png"
            reference = f"DarkZurich/rgb_anon/{split}_ref/day/{day_recording}/{stem}_ref_rgb_anon.png"
            truth = f"DarkZurich/gt/{split}/night/{recording}/{stem}_gt"
            labels = (f"{truth}_labelIds.png", f"{truth}_labelTrainIds.png", f"{truth}_labelColor.png")
        name = f"night_{split}"
        pairs.append(
            Pair(
                Frame(name, place, moment, True, image, labels, near, oracle),
                Frame(name, place, 0, False, reference, ()),
            )
        )
    return pairs


def test_frames(day: int, night: int, *, seed: int, near_fraction: float) -> list[Frame]:
    """`day` and `night` labelled frames of the split test, whose places no other split shows.

    The night frames are those of pairs, so that they are as those of the other splits; their references are not drawn.
    """
    pairs = dark_zurich_pairs("test", night, seed=seed, near_fraction=near_fraction)
    return cityscapes_frames("test", day) + [pair.night for pair in pairs]


def place_of(frame: Frame, seed: int) -> Place:
    """The place a frame shows; what it must show goes round with the index of the place."""
    key = (seed, SPLITS[frame.split], frame.place + 1)
    rng = np.random.default_rng([*key, 0])
    target = frame.split.startswith("night")
    return Place(
        key,
        needs_of(frame.place, rng),
        city=float(rng.uniform(0.0, 0.35) if target else rng.uniform(0.1, 0.6)),
        yellow=target,
    )


def camera_of(frame: Frame, seed: int) -> Camera:
    """The pose of a frame: a night frame stands near its reference's pose, or several metres from it."""
    place = place_of(frame, seed)
    street = place.street()
    style = "target" if frame.split.startswith("night") else "source"
    camera = sample_camera(street, np.random.default_rng([*place.seed, 5]), style=style)
    if not frame.moment:
        return camera
    rng = np.random.default_rng([*place.seed, 6, frame.moment])
    if frame.near:
        return camera.moved(
            sideways=float(np.clip(rng.normal(0, 0.035), -0.1, 0.1)),
            ahead=rng.uniform(-0.2, 0.2),
            turn=float(np.clip(rng.normal(0, 0.0022), -0.008, 0.008)),
        )
    ahead = rng.uniform(1, 10) if rng.random() < 0.3 else -rng.uniform(1, 12)
    return camera.moved(sideways=rng.uniform(-1.5, 0.5), ahead=ahead, turn=rng.normal(0, math.radians(2)))


def draw(frame: Frame, *, seed: int, width: int, height: int, supersample: int) -> tuple[np.ndarray, np.ndarray]:
    """The picture (h, w, 3) uint8 and the class map (h, w) uint8 of one frame."""
    place, camera = place_of(frame, seed), camera_of(frame, seed)
    key = (*place.seed, 7, frame.moment)
    target = frame.split.startswith("night")
    scene = visit(place, camera, key, chance=target and not frame.night)
    buffer = render(scene, camera, width * supersample, height * supersample)
    if not target:
        # one car drives each city: the bonnet is the same in all its images
        car = np.random.default_rng([seed, *frame.image.encode()[: frame.image.rindex("/")]])
        draw_bonnet(buffer, car.uniform(0.04, 0.085), np.full(3, car.choice([0.03, 0.12, 0.3])))
    rng = np.random.default_rng([*key, 8])
    if frame.night:
        night = sample_night(rng)
        radiance = light_by_night(buffer, scene, camera, night)
        picture = photograph_night(_mean(radiance, width, height, supersample), night, rng)
    else:
        day = sample_day(rng, style="target" if target else "source")
        picture = photograph_day(_mean(light_by_day(buffer, scene, day), width, height, supersample), day, rng)
    return picture, _most(buffer.label, width, height, supersample)


def write(frame: Frame, root: Path, *, seed: int, width: int, height: int, supersample: int) -> np.ndarray:
    """Draw and write one frame; returns the pixel count of every class, shape (19,), int64."""
    picture, label = draw(frame, seed=seed, width=width, height=height, supersample=supersample)
    _save(root / frame.image, picture)
    for name in filter(None, (*frame.labels, frame.oracle)):
        if name.endswith("_labelIds.png"):
            _save(root / name, LABEL_IDS[label])
        elif name.endswith("_labelTrainIds.png"):
            _save(root / name, label)
        else:
            _save(root / name, CITYSCAPES.colour_map(label))
    return np.bincount(label[label != VOID], minlength=len(CITYSCAPES)).astype(np.int64)


def remove_stale(root: Path, frames: list[Frame]) -> None:
    """Delete what an earlier, larger town left in the cities and recordings of the town, and nothing else."""
    wanted = {root / name for frame in frames for name in (frame.image, *frame.labels, frame.oracle)}
    cities = {city for names in CITIES.values() for city in names}
    recordings = {name for group in RECORDINGS.values() for both in group for name in both}
    for data_set, folders in (("Cityscapes", cities), ("DarkZurich", recordings), ("oracle", recordings)):
        for path in sorted((root / data_set).rglob("*.png")):
            if path.parent.name in folders and path not in wanted:
                path.unlink()


def distance(pair: Pair, seed: int) -> tuple[float, float]:
    """Metres and degrees between the two cameras of a pair."""
    night, day = camera_of(pair.night, seed), camera_of(pair.day, seed)
    return math.hypot(night.x - day.x, night.z - day.z), math.degrees(abs(night.yaw - day.yaw))


def _mean(radiance: np.ndarray, width: int, height: int, times: int) -> np.ndarray:
    return radiance.reshape(height, times, width, times, 3).mean((1, 3), dtype=np.float32)


def _most(label: np.ndarray, width: int, height: int, times: int) -> np.ndarray:
    """The class that most of a pixel's samples show; the first of them when it is a tie."""
    samples = label.reshape(height, times, width, times).transpose(0, 2, 1, 3).reshape(height, width, times * times)
    votes = (samples[..., :, None] == samples[..., None, :]).sum(-1)
    best = votes.argmax(-1)
    return np.take_along_axis(samples, best[..., None], -1)[..., 0]


def _save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, compress_level=4)
