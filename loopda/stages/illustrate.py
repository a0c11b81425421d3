"""Stage `illustrate`: pictures of what the loops render, and of how self-training chooses its labels.

The page of the stage `report` shows them.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loopda.config import Count, Section
from loopda.data.dataset import Frames, Input, open_frames
from loopda.data.poses import read_poses
from loopda.data.pseudo_labels import read_label_table, read_statistics
from loopda.data.sampling import evenly
from loopda.data.transforms import to_images, to_labels
from loopda.evaluation.probabilities import predict
from loopda.labels.agreement import Agreement, day_night_agreement, keep_classes, online_label, static_label
from loopda.labels.png import read_label
from loopda.methods.loopda import DOMAIN, TRANSLATION, Decoders, Loops, LoopSettings, load_loops
from loopda.models.checkpoint import load_segmenter
from loopda.models.segmentation_network import Outputs
from loopda.models.segmenter import Segmenter
from loopda.report.album import Album
from loopda.runtime.command import command, writes
from loopda.runtime.device import choose_device, use_threads
from loopda.runtime.files import write_json
from loopda.runtime.log import Log
from loopda.runtime.signals import interruptible

LOOPS = {
    "n": {
        "title": "Night loops",
        "caption": "The inner loop renders the night image from its features and predicted classes; the outer loop "
        "goes by way of a day image (equations 2, 6 and 7).",
        "columns": ["night image", "inner loop", "night to day", "outer loop"],
    },
    "d": {
        "title": "Day loops",
        "caption": "The labelled day image, rendered back by the inner loop, translated to night with its labels kept, "
        "and brought back by the outer loop (equations 2, 3 and 6).",
        "columns": ["day image", "inner loop", "day to night", "outer loop"],
    },
}


class Config(Section):
    """The section `illustrate`, with `input`, `loops` and `agreement`."""

    input: Input
    loops: LoopSettings
    agreement: Agreement
    images: Count


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
    """Draw with the networks of the warm-up, from which self-training starts.

    poses: the true distance of each pair of cameras (`data.poses`), known on the built-in town alone; the histogram of
    label overlap ratios shows it. statistics: of the offline pseudo-labels.
    """
    logger = Log(log, "illustrate")

    # load
    chosen_device = choose_device(device)
    use_threads(threads)
    day_frames = open_frames(source, classes, config.input.labelled_day, threads=threads)
    night_frames = open_frames(night, classes, config.input.size, threads=threads)
    segmenter = load_segmenter(warmed_up).to(chosen_device)
    nets = Loops(config.loops, segmenter).to(chosen_device)
    load_loops(nets, loops)
    album = Album(illustrations.parent / "pictures", night_frames.classes)

    # draw
    with torch.no_grad():
        panels = []
        if config.loops.outer_loop:
            for symbol, frames in (("n", night_frames), ("d", day_frames)):
                panels.append(loops_panel(segmenter, nets, symbol, frames, config.images, chosen_device, album))
            logger.say("loops drawn")
        pairs = read_poses(poses) if poses else []
        distances = {(pair.night.name, pair.reference.name): pair.metres for pair in pairs}
        overlaps = overlap_ratios(segmenter, night_frames, config.agreement.tau, chosen_device, distances)
        if overlaps:
            offline = {entry.image: entry.label for entry in read_label_table(labels) if entry.domain == "night"}
            panels.append(label_panel(segmenter, night_frames, overlaps, offline, config, chosen_device, album))
        logger.say(f"label overlap ratio of {len(overlaps)} pairs computed")

    # write
    notes = []
    if config.loops.outer_loop:
        notes.append(perceptual_note(config.loops.decoders))
    if not overlaps:
        notes.append("The night images have no day references: no label overlap ratio, no Day-Night Agreement.")
    write_json(
        illustrations,
        {
            "seed": seed,
            "panels": panels,
            "lor": list(overlaps.values()),
            "tau": config.agreement.tau,
            "thresholds": {name: of_class._asdict() for name, of_class in read_statistics(statistics)["night"].items()},
            "notes": notes,
        },
    )


def perceptual_note(decoders: Decoders) -> str:
    """Which distance the perceptual loss took, and whether it is the paper's."""
    if decoders.perceptual == "efficientnet-lite0":
        return (
            "The perceptual loss compared features of EfficientNet-Lite0, trained on ImageNet, in the place of the "
            "paper's LPIPS (loops.decoders.perceptual)."
        )
    trunk = {"lpips-alex": "AlexNet", "lpips-vgg": "VGG-16"}[decoders.perceptual]
    if decoders.lpips_weights:
        return f"The perceptual loss was LPIPS on {trunk} with the weights {decoders.lpips_weights}."
    return (
        f"LPIPS ran on a random {trunk} trunk (loops.decoders.lpips_weights is empty), not on the ImageNet weights of "
        "the paper's distance."
    )


def rendered(segmenter: Segmenter, nets: Loops, symbol: str, x: Tensor, y: Tensor | None = None) -> list[Tensor]:
    """An image x (1, 3, H, W), its inner reconstruction, its translation, and its outer reconstruction.

    symbol: "d" or "n", of x. y: the labels (1, H, W) of d.
    """
    translation = TRANSLATION[symbol]
    z = {symbol: outputs_of(segmenter, symbol, x)}
    images = nets.decode({symbol: symbol, translation: symbol}, z, nets.fused(z, y), {symbol: x})
    z = {translation: outputs_of(segmenter, translation, images[translation])}
    outer = nets.decode({symbol: translation}, z, nets.fused(z, y), images)
    return [x, images[symbol], images[translation], outer[symbol]]


def outputs_of(segmenter: Segmenter, symbol: str, x: Tensor) -> Outputs:
    """The outputs of Enc and F for images of this symbol, with the statistics of the domain that they show."""
    segmenter.use_statistics(DOMAIN[symbol])
    return segmenter(x)


def loops_panel(
    segmenter: Segmenter, nets: Loops, symbol: str, frames: Frames, count: int, device: torch.device, album: Album
) -> dict[str, Any]:
    """`count` rows of the images of `rendered`. symbol: "d" or "n", of `frames`."""
    rows = []
    for number in interruptible(evenly(len(frames), count)):
        x = to_images([frames.image(number)]).to(device)
        y = to_labels([frames.label(number)]).to(device) if symbol == "d" else None
        rows.append(album.images(rendered(segmenter, nets, symbol, x, y)))
    return {**LOOPS[symbol], "rows": rows}


def overlap_ratios(
    segmenter: Segmenter,
    frames: Frames,
    tau: float,
    device: torch.device,
    distances: dict[tuple[str, str], float],
) -> dict[int, dict[str, Any]]:
    """Index of each night image with a day reference -> its label overlap ratio (LOR), and the label that is chosen.

    distances: (night image, reference), by file name -> metres between the cameras.
    """
    found = {}
    for number, row in interruptible(enumerate(frames.rows)):
        if row.reference is None:
            continue
        night, reference = pair_predictions(segmenter, frames, number, device)
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
    device: torch.device,
    album: Album,
) -> dict[str, Any]:
    """The labels of figure 3 for pairs from low to high LOR. offline: night image -> its offline label map."""
    classes = frames.classes
    ordered = sorted(overlaps, key=lambda number: overlaps[number]["lor"])
    chosen = [ordered[place] for place in evenly(len(ordered), config.images)]
    rows = []
    for number in interruptible(chosen):
        row = frames.rows[number]
        night, reference = pair_predictions(segmenter, frames, number, device)
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


def pair_predictions(segmenter: Segmenter, frames: Frames, number: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The label maps (1, H, W) of a night image and of its day reference, each with its domain's statistics."""
    maps = []
    for domain, image in (("night", frames.image(number)), ("day", frames.reference(number))):
        segmenter.use_statistics(domain)
        x = to_images([image]).to(device)
        maps.append(predict(segmenter, x, x.shape[2:])[0].long())
    return maps[0], maps[1]


if __name__ == "__main__":
    command(run)
