"""Stage `illustrate`: pictures of what the loops render and of how the labels of self-training come about."""

import csv
import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field
from torch import Tensor

from loopda.config import Section
from loopda.data.dataset import Frames, Input, open_frames
from loopda.data.transforms import to_bytes, to_images, to_labels
from loopda.evaluation.probabilities import predict
from loopda.labels.agreement import Agreement, day_night_agreement, keep_classes, online_label, static_label
from loopda.labels.classes import ClassList
from loopda.labels.png import read_label
from loopda.methods.loopda import SIDE, TRANSLATION, Loops, LoopSettings, load_loops
from loopda.models.checkpoint import load_segmenter
from loopda.models.segmentation_network import Outputs
from loopda.models.segmenter import Segmenter
from loopda.runtime.command import command, writes
from loopda.runtime.device import choose_device, use_threads
from loopda.runtime.files import write_json, written
from loopda.runtime.log import Log
from loopda.runtime.signals import interruptible

Picture = NDArray[np.uint8]


class Config(Section):
    """The section `illustrate`, with `input`, `loops` and `agreement`."""

    input: Input
    loops: LoopSettings
    agreement: Agreement
    images: Annotated[int, Field(ge=1)]


@writes("illustrations")
def run(
    *,
    config: Config,
    warmed_up: Path,
    loops: Path,
    labels: Path,
    statistics: Path,
    source: Path,
    night: Path,
    classes: Path,
    poses: Path | None = None,
    illustrations: Path,
    log: Path,
    seed: int,
    device: str = "auto",
    threads: int = 2,
) -> None:
    """Draw with the warm-up's networks, which self-training starts from.

    `poses` (CSV: night, reference, metres, degrees) is the true distance of each pair, which only the built-in town
    knows; it changes nothing but the histogram.
    """
    lines = Log(log, "illustrate")
    place = choose_device(device)
    use_threads(threads)
    day_frames = open_frames(source, classes, config.input.labelled_day, threads=threads)
    night_frames = open_frames(night, classes, config.input.size, threads=threads)
    segmenter = load_segmenter(warmed_up).to(place)
    nets = Loops(config.loops, segmenter).to(place)
    load_loops(nets, loops)
    album = Album(illustrations.parent / "pictures", night_frames.classes)

    with torch.no_grad():
        panels = []
        if config.loops.outer_loop:
            panels.append(night_loops(segmenter, nets, night_frames, config.images, place, album))
            panels.append(day_loops(segmenter, nets, day_frames, config.images, place, album))
        lines.say("loops drawn")
        overlaps = overlap_ratios(segmenter, night_frames, config.agreement.tau, place, _distances(poses))
        if overlaps:
            offline = offline_labels(labels)
            panels.append(label_panel(segmenter, night_frames, overlaps, offline, config, place, album))
        lines.say(f"label overlap ratio of {len(overlaps)} pairs computed")

    notes = []
    if config.loops.outer_loop and not config.loops.decoders.lpips_weights:
        notes.append(
            f"LPIPS ran on a random {config.loops.decoders.lpips} trunk (loops.decoders.lpips_weights is empty), "
            "not on the ImageNet weights of the paper's distance."
        )
    if not overlaps:
        notes.append("The night images have no day references: no label overlap ratio, no Day-Night Agreement.")
    write_json(
        illustrations,
        {
            "seed": seed,
            "panels": panels,
            "lor": list(overlaps.values()),
            "tau": config.agreement.tau,
            "thresholds": json.loads(statistics.read_text(encoding="utf-8"))["night"],
            "notes": notes,
        },
    )


class Album:
    """A folder of numbered PNGs."""

    def __init__(self, folder: Path, classes: ClassList):
        self.folder, self.classes, self.count = folder, classes, 0

    def image(self, picture: Picture) -> str:
        """Keep an RGB picture; returns its path."""
        self.count += 1
        path = self.folder / f"{self.count:03d}.png"
        with written(path) as temporary:
            Image.fromarray(picture).save(temporary)
        return str(path)

    def images(self, batches: list[Tensor]) -> list[str]:
        """Keep the first image of each batch (N, 3, H, W) in [-1, 1]; returns their paths."""
        return [self.image(to_bytes(images)[0]) for images in batches]

    def label(self, label: Picture | Tensor) -> str:
        """Keep a label map (H, W) in the colours of its classes, ignored pixels black."""
        return self.image(self.classes.colour_map(np.asarray(label).astype(np.uint8)))


def spread(frames: Frames, count: int) -> list[int]:
    """The indices of `count` frames of a set, evenly spaced."""
    return [int(number) for number in np.linspace(0, len(frames) - 1, min(count, len(frames))).round()]


def rendered(segmenter: Segmenter, nets: Loops, symbol: str, x: Tensor, y: Tensor | None = None) -> list[Tensor]:
    """The image x (1, 3, H, W), d or n by `symbol`, its inner reconstruction, its translation to the other domain, and
    the outer reconstruction. y: the labels (1, H, W) of d."""
    translation = TRANSLATION[symbol]
    z = {symbol: outputs_of(segmenter, symbol, x)}
    images = nets.decode({symbol: symbol, translation: symbol}, z, nets.fused(z, y), {symbol: x})
    z = {translation: outputs_of(segmenter, translation, images[translation])}
    outer = nets.decode({symbol: translation}, z, nets.fused(z, y), images)
    return [x, images[symbol], images[translation], outer[symbol]]


def outputs_of(segmenter: Segmenter, symbol: str, x: Tensor) -> Outputs:
    """Enc and F of images of this symbol, with the statistics of the domain that they show."""
    segmenter.use_statistics(SIDE[symbol])
    return segmenter(x)


def night_loops(
    segmenter: Segmenter, nets: Loops, frames: Frames, count: int, place: torch.device, album: Album
) -> dict[str, Any]:
    """`count` rows of x_n, its inner reconstruction, x_n2d, and the outer reconstruction."""
    images = [to_images([frames.image(number)]).to(place) for number in spread(frames, count)]
    return {
        "title": "Night loops",
        "caption": "The inner loop renders the night image from its features and predicted classes; the outer loop "
        "goes by way of a day image (equations 2, 6 and 7).",
        "columns": ["night image", "inner loop", "night to day", "outer loop"],
        "rows": [album.images(rendered(segmenter, nets, "n", x)) for x in interruptible(images)],
    }


def day_loops(
    segmenter: Segmenter, nets: Loops, frames: Frames, count: int, place: torch.device, album: Album
) -> dict[str, Any]:
    """`count` rows of x_d, its inner reconstruction, x_d2n, and the outer reconstruction."""
    chosen = spread(frames, count)
    images = [to_images([frames.image(number)]).to(place) for number in chosen]
    labels = [to_labels([frames.label(number)]).to(place) for number in chosen]
    return {
        "title": "Day loops",
        "caption": "The labelled day image, rendered back by the inner loop, translated to night with its labels kept, "
        "and brought back by the outer loop (equations 2, 3 and 6).",
        "columns": ["day image", "inner loop", "day to night", "outer loop"],
        "rows": [
            album.images(rendered(segmenter, nets, "d", x, y))
            for x, y in interruptible(zip(images, labels, strict=True))
        ],
    }


def overlap_ratios(
    segmenter: Segmenter,
    frames: Frames,
    tau: float,
    place: torch.device,
    distances: dict[tuple[str, str], float],
) -> dict[int, dict[str, Any]]:
    """By the night image's index, LOR with the present model and which label would be chosen; no pairs, no entries."""
    found = {}
    for number, row in interruptible(enumerate(frames.rows)):
        if row.reference is None:
            continue
        night, reference = pair_predictions(segmenter, frames, number, place)
        online = online_label(
            night=night, reference=reference, dynamic=frames.classes.dynamic, ssc=frames.classes.ssc, tau=tau
        )
        found[number] = {
            "night": str(row.image),
            "lor": round(float(online.lor), 4),
            "chosen": "static" if online.static.item() else "agreement",
            "metres": distances.get((row.image.name, row.reference.name)),
        }
    return found


def label_panel(
    segmenter: Segmenter,
    frames: Frames,
    overlaps: dict[int, dict[str, Any]],
    offline: dict[Path, Path],
    config: Config,
    place: torch.device,
    album: Album,
) -> dict[str, Any]:
    """The label sets of figure 3 for pairs from low to high LOR."""
    classes = frames.classes
    ordered = sorted(overlaps, key=lambda number: overlaps[number]["lor"])
    chosen = [ordered[int(at)] for at in np.linspace(0, len(ordered) - 1, min(config.images, len(ordered)))]
    rows = []
    for number in interruptible(chosen):
        row = frames.rows[number]
        night, reference = pair_predictions(segmenter, frames, number, place)
        static = static_label(night=night, reference=reference, dynamic=classes.dynamic)
        agreement = day_night_agreement(night=night, static=static)
        kept = keep_classes(torch.from_numpy(read_label(offline[row.image]))[None], classes.dynamic | classes.ssc)
        labels = (night, reference, static, agreement, kept)
        pictures = [frames.image(number), frames.reference(number)]
        rows.append([*map(album.image, pictures), *(album.label(label[0].cpu()) for label in labels)])
    ratios = ", ".join(f"{overlaps[number]['lor']:.2f}" for number in chosen)
    return {
        "title": "Labels of self-training",
        "caption": f"Pairs from low to high label overlap ratio ({ratios}). From tau = {config.agreement.tau} on the "
        "online label is the static one, else the agreement (section 3.2). Black is unlabelled.",
        "columns": [
            "night image",
            "day reference",
            "night prediction",
            "reference prediction",
            "static label",
            "agreement (DNA)",
            "offline label",
        ],
        "rows": rows,
    }


def pair_predictions(segmenter: Segmenter, frames: Frames, number: int, place: torch.device) -> tuple[Tensor, Tensor]:
    """The label maps (1, H, W) of a night image and of its day reference, each with its domain's statistics."""
    maps = []
    for domain, image in (("night", frames.image(number)), ("day", frames.reference(number))):
        segmenter.use_statistics(domain)
        x = to_images([image]).to(place)
        maps.append(predict(segmenter, x, x.shape[2:])[0].long())
    return maps[0], maps[1]


def offline_labels(manifest: Path) -> dict[Path, Path]:
    """Night image -> its offline label map, from the manifest of `pseudo_labels`."""
    with open(manifest, newline="", encoding="utf-8") as file:
        return {Path(row["image"]): Path(row["label"]) for row in csv.DictReader(file) if row["domain"] == "night"}


def _distances(poses: Path | None) -> dict[tuple[str, str], float]:
    if poses is None:
        return {}
    with open(poses, newline="", encoding="utf-8") as file:
        return {
            (Path(row["night"]).name, Path(row["reference"]).name): float(row["metres"]) for row in csv.DictReader(file)
        }


if __name__ == "__main__":
    command(run)
