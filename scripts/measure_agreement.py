"""How right the labels of self-training are, on the town, where the truth of the night is known.

    python scripts/measure_agreement.py --model results/warmup/loopda/seed0/model.pt \
        --night results/manifest/loopda/night.csv --classes results/prepare/loopda/classes.json \
        --truth results/town/oracle/night.csv --poses results/town/poses.csv --out agreement.json

Of the model's predictions of night images and of their day references: the online label (section 3.2 of the paper) for
each tau, in percent of the pixels that have one, and of these in percent that are right; for all pairs, by the distance
of their poses, and for nights with the reference of another place. tau 0 is Table 3's "no DNA", the static label of
every pair; a tau above 1 the agreement of every pair. What the agreement leaves out is where both predictions are
static classes and disagree: there, how often each of them is right.
"""

import argparse
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from loopda.data.dataset import Frames
from loopda.data.layouts import TableLayout
from loopda.data.manifest import read_manifest
from loopda.data.poses import read_poses
from loopda.data.transforms import to_images
from loopda.evaluation.probabilities import predict
from loopda.labels.agreement import label_overlap_ratio, online_label, static_label
from loopda.labels.class_files import load_classes
from loopda.labels.classes import IGNORE, ClassList
from loopda.models.checkpoint import load_segmenter
from loopda.models.segmenter import Segmenter
from loopda.runtime.files import write_json
from loopda.text.encoding import begin_program

TAUS = (0.0, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 1.01)
METRES = (0.0, 1.0, 3.0, 6.0, 9.0, 1000.0)  # between these; the town's near pairs are 0.3 apart at most
BATCH = 8


def main() -> None:
    """Predict, measure, print, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "night", "classes", "truth", "poses", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    segmenter, classes = load_segmenter(arguments.model), load_classes(arguments.classes)
    metres = {pair.night.name: pair.metres for pair in read_poses(arguments.poses)}
    pairs = [row for row in read_manifest(arguments.night) if row.reference and row.image.name in metres]
    truth_table = TableLayout(layout="table", csv=arguments.truth)
    labels = {row.image.name: row for row in truth_table.rows(classes, labelled=True)}
    truths = Frames([labels[row.image.name] for row in pairs], classes, segmenter.input_size)
    frames = Frames(pairs, classes, segmenter.input_size)
    apart = torch.tensor([metres[row.image.name] for row in pairs])
    night, reference = predictions(segmenter, frames)
    truth = torch.from_numpy(np.stack([truths.label(number) for number in range(len(truths))]))

    measured = {"all": measure(night, reference, truth, classes)}
    for least, most in pairwise(METRES):
        chosen = (apart >= least) & (apart < most)
        if chosen.any():
            name = f"{least:g} to {most:g} m"
            measured[name] = measure(night[chosen], reference[chosen], truth[chosen], classes)
    measured["another place"] = measure(night, reference.roll(len(pairs) // 2, dims=0), truth, classes)
    for name, figures in measured.items():
        print("\n".join(lines(name, figures)))
    write_json(arguments.out, measured)


def predictions(segmenter: Segmenter, frames: Frames) -> Iterator[Tensor]:
    """The label maps (N, h, w) of the night images, then of their references, each by its domain's statistics."""
    for domain, image in (("night", frames.image), ("day", frames.reference)):
        segmenter.use_statistics(domain)
        maps = []
        for first in range(0, len(frames), BATCH):
            images = to_images([image(number) for number in range(first, min(first + BATCH, len(frames)))])
            maps.append(predict(segmenter, images, images.shape[2:])[0])
        yield torch.cat(maps)


def measure(night: Tensor, reference: Tensor, truth: Tensor, classes: ClassList) -> dict[str, object]:
    """Percentages of pixels, of label maps (N, h, w) of predictions and of the night's truth; None of no pixel."""
    night, reference, truth = night.long(), reference.long(), truth.long()
    given = {"night": night, "reference": reference}
    lor = label_overlap_ratio(**given, ssc=classes.ssc)
    online = []
    for tau in TAUS:
        chosen = online_label(**given, dynamic=classes.dynamic, ssc=classes.ssc, tau=tau)
        labelled = chosen.label != IGNORE
        online.append(
            {
                "tau": tau,
                "pairs_with_static_label": percent(chosen.static),
                "labelled": percent(labelled),
                "right": right(chosen.label, truth, labelled),
            }
        )
    static = static_label(**given, dynamic=classes.dynamic)
    apart = (static != IGNORE) & (static != night)
    return {
        "pairs": len(night),
        "lor": lor.mean().item(),
        "online": online,
        "left_out": {
            "pixels": percent(apart),
            "reference_right": right(reference, truth, apart),
            "night_right": right(night, truth, apart),
        },
    }


def percent(where: Tensor) -> float:
    """The share of the true values."""
    return 100 * where.float().mean().item()


def right(labels: Tensor, truth: Tensor, where: Tensor) -> float | None:
    """The share of right labels among the pixels `where` the truth is known; None where there is no such pixel."""
    where = where & (truth != IGNORE)
    return percent(labels[where] == truth[where]) if where.any() else None


def lines(name: str, measured: dict) -> list[str]:
    """For people."""
    shown = [f"{name}: {measured['pairs']} pairs, label overlap ratio {measured['lor']:.3f} on average"]
    for row in measured["online"]:
        shown.append(
            f"  tau {row['tau']:4}: {row['pairs_with_static_label']:5.1f} % of the pairs take the static label;"
            f" {row['labelled']:4.1f} % of the pixels labelled, {row['right'] or 0:4.1f} % of them right"
        )
    left_out = measured["left_out"]
    return [
        *shown,
        f"  the agreement leaves out {left_out['pixels']:.1f} % of the pixels; there the reference's prediction is"
        f" right in {left_out['reference_right'] or 0:.1f} %, the night's in {left_out['night_right'] or 0:.1f} %",
    ]


if __name__ == "__main__":
    begin_program()
    main()
