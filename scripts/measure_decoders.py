"""What the image decoders of a warm-up have learnt, and what the rendering of predictions is worth to them.

    python scripts/measure_decoders.py --config results/warmup/loopda/seed0/config.yaml \
        --model results/warmup/loopda/seed0/model.pt --loops results/warmup/loopda/seed0/loops.pt \
        --night results/manifest/loopda/night.csv --classes results/prepare/loopda/classes.json --out decoders.json

Of the first night images, and of their day references, the mean absolute difference in [0, 2] of an image x and

- inner: Dec(z, p) of its own domain, which the inner loop teaches, if there is one;
- outer: what comes back when x is translated to the other domain, encoded again and decoded (night images alone);
- blind: Dec(z, q), where q is everywhere the mean of p over the batch: the decoder is not told what is where;
- wrong: Dec(z, p'), where p' is that of the next image.

translated: how much blind p changes the translation. Networks are as in evaluation: each domain has its own statistics.
fresh, fresh_blind: what a new decoder makes of images that it has not seen, after --steps on others with constant z and
p, and what one makes that is blind from the start: how much of the picture is in z, and how much of it p adds.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import torch
from torch import Tensor

from loopda.config import read_section
from loopda.data.dataset import open_frames
from loopda.data.transforms import to_images
from loopda.losses.reconstruction import reconstruction
from loopda.methods.loopda import Domain, Loops, load_loops
from loopda.methods.method import probabilities
from loopda.models.checkpoint import load_segmenter
from loopda.models.segmentation_network import Outputs
from loopda.models.segmenter import Segmenter
from loopda.runtime.files import write_json
from loopda.stages.warmup import Config
from loopda.text.encoding import begin_program
from loopda.training.optimizer import descend

BATCH, IMAGES = 8, 80
OTHER: dict[Domain, Domain] = {"day": "night", "night": "day"}


def main() -> None:
    """Decode, measure, print, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("config", "model", "loops", "night", "classes", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=200)
    arguments = parser.parse_args()
    config = read_section(arguments.config, Config)
    segmenter = load_segmenter(arguments.model)
    nets = Loops(config.loops, segmenter).eval()
    load_loops(nets, arguments.loops)
    frames = open_frames(arguments.night, arguments.classes, config.input.size)
    shown = [number for number in range(len(frames)) if frames.rows[number].reference][:IMAGES]

    measured: dict[str, dict[str, float]] = {}
    for side, image in (("night", frames.image), ("day", frames.reference)):
        batches = [
            to_images([image(number) for number in shown[at : at + BATCH]]) for at in range(0, len(shown), BATCH)
        ]
        found = [measure(segmenter, nets, side, images, outer=config.loops.outer_loop) for images in batches]
        measured[side] = mean(found)
        for name, blind in (("fresh", False), ("fresh_blind", True)):
            measured[side][name] = fresh(segmenter, config, side, batches, steps=arguments.steps, blind=blind)
        print(f"{side}: " + ", ".join(f"{name} {value:.4f}" for name, value in measured[side].items()))
    write_json(arguments.out, measured)


@torch.no_grad()
def measure(segmenter: Segmenter, nets: Loops, side: Domain, x: Tensor, *, outer: bool) -> dict[str, float]:
    """The differences for a batch of images of `side`."""
    segmenter.use_statistics(side)
    outputs = segmenter(x, aux=False)
    p = probabilities(outputs)
    seen = {"inner": p, "blind": blinded(p), "wrong": p.roll(1, dims=0)}
    found = {name: difference(decode(nets, side, outputs, p_seen, x), x) for name, p_seen in seen.items()}
    if outer:
        translated = decode(nets, OTHER[side], outputs, p, x)
        found["translated"] = difference(decode(nets, OTHER[side], outputs, seen["blind"], x), translated)
    if outer and side == "night":
        segmenter.use_statistics(OTHER[side])
        again = segmenter(translated, aux=False)
        found["outer"] = difference(decode(nets, side, again, probabilities(again), x), x)
    return found


def fresh(
    segmenter: Segmenter, config: Config, side: Domain, batches: list[Tensor], *, steps: int, blind: bool
) -> float:
    """The difference on the last fifth of the batches of a decoder that has learnt from the others."""
    torch.manual_seed(0)
    nets = Loops(config.loops, segmenter)
    optimizer = nets.optimizers()["decoders"]
    segmenter.use_statistics(side)
    shown = []
    for images in batches:
        with torch.no_grad():
            outputs = segmenter(images, aux=False)
        p = probabilities(outputs)
        shown.append((outputs, blinded(p) if blind else p, images))
    held_out = shown[-max(1, len(shown) // 5) :]
    learnt = shown[: -len(held_out)]
    for step in range(steps):
        outputs, p, images = learnt[step % len(learnt)]
        descend(reconstruction(output=decode(nets, side, outputs, p, images), image=images), optimizer)
    with torch.no_grad():
        values = [difference(decode(nets, side, outputs, p, images), images) for outputs, p, images in held_out]
    return sum(values) / len(values)


def decode(nets: Loops, side: Domain, outputs: Outputs, p: Tensor, like: Tensor) -> Tensor:
    """Dec_side(z, p) at the size of the images `like`."""
    return nets.decoders[side](nets.features(outputs), p, like.shape[2:])


def blinded(p: Tensor) -> Tensor:
    """Probabilities (N, K, h, w) that say nothing of the place: their mean."""
    return p.mean(dim=(0, 2, 3), keepdim=True).expand_as(p)


def difference(output: Tensor, image: Tensor) -> float:
    """As the loops' losses say it."""
    return reconstruction(output=output, image=image).item()


def mean(found: list[dict[str, float]]) -> dict[str, float]:
    """Of each value over the batches."""
    values = defaultdict(list)
    for figures in found:
        for name, value in figures.items():
            values[name].append(value)
    return {name: sum(numbers) / len(numbers) for name, numbers in values.items()}


if __name__ == "__main__":
    begin_program()
    main()
