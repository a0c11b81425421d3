"""What a step of the paper's experiment costs: seconds and peak of resident memory of every stage.

    python scripts/measure_paper_steps.py [--crop 496x512] [--size 960x540] [--stages pretrain warmup ...]
                                          [--threads 2] [--device cpu] [--memory 14]

Runs the stages of workflow/config/paper.yaml one after the other by their own commands, the training stages for two
steps each, with the networks, losses, optimisers, batch sizes and image sizes of that file, on a few random images in
the folders of Cityscapes, Dark Zurich and Nighttime Driving. The scores mean nothing. Pretrained files that are not in
`weights/` are replaced by random weights, which costs the same; nothing is fetched.

--memory: GiB that a stage may use. One that needs more is tried again with a crop of half the pixels, and so on.
--stages: stops behind the last of these and prints only them; those before run all the same, for their models.
On a GPU, seconds include the transfers, and the peak is that of the process, not of the GPU.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from loopda.data.dataset import SHORTEST, Size, parse_size
from loopda.labels.classes import CITYSCAPES
from loopda.pipeline import experiments
from loopda.text.encoding import begin_program
from loopda.text.strict_yaml import read_mapping
from loopda.weights.catalogue import CATALOGUE
from loopda.weights.downloads import folder

ROOT = Path(__file__).parents[1]
STEPS = 2
TRAINED = 4  # images in each training set
MEASURED = 2  # and in each set to measure on
OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "MemoryError", "bad_alloc")  # messages

# stage -> (the files of other stages that it reads, by flag or file name; those that it writes)
DATA = {name: f"prepare/{name}" for name in ("source.csv", "night.csv", "classes.json")}
FILES = {
    "prepare": (
        {},
        ["source.csv", "night.csv", "day_val.csv", "night_val.csv", "day.csv", "classes.json", "summary.json"],
    ),
    "pretrain": (DATA, ["model.pt", "metrics.jsonl"]),
    "warmup": (DATA | {"pretrained": "pretrain/model.pt"}, ["model.pt", "loops.pt", "metrics.jsonl"]),
    "pseudo_labels": (
        {name: DATA[name] for name in ("night.csv", "classes.json")} | {"warmed-up": "warmup/model.pt"},
        ["labels.csv", "statistics.json"],
    ),
    "self_train": (
        DATA | {"warmed-up": "warmup/model.pt", "loops": "warmup/loops.pt", "labels": "pseudo_labels/labels.csv"},
        ["model.pt", "metrics.jsonl"],
    ),
    "simclr": (DATA, ["model.pt", "metrics.jsonl"]),
    "distill": (DATA | {"teacher": "self_train/model.pt", "student": "simclr/model.pt"}, ["model.pt", "metrics.jsonl"]),
    "evaluate": (
        {name: f"prepare/{name}" for name in ("night_val.csv", "day_val.csv", "classes.json")}
        | {"night_tests": "prepare/night_tests/nighttime-driving.csv", "model": "distill/model.pt"},
        ["scores.json"],
    ),
}


class Finished(NamedTuple):
    """How a stage's process ended: whether it succeeded, what it printed, its seconds, its peak memory in GiB."""

    succeeded: bool
    output: str
    seconds: float
    memory: float

    @property
    def ran_out_of_memory(self) -> bool:
        """Whether it failed because memory did not suffice."""
        return not self.succeeded and any(message in self.output for message in OUT_OF_MEMORY)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crop", type=parse_size, help="of training; by default the paper's")
    parser.add_argument("--size", type=parse_size, help="of every image; by default the paper's")
    parser.add_argument("--stages", nargs="*", choices=list(FILES), default=list(FILES))
    parser.add_argument("--threads", default="2")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory", type=float, default=14.0)
    arguments = parser.parse_args()
    last = max(list(FILES).index(stage) for stage in arguments.stages)
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        config, remarks = paper_config(home, arguments.size)
        print(*remarks, sep="\n", flush=True)
        for stage in list(FILES)[: last + 1]:
            line = measured(stage, config, home, arguments)
            if stage in arguments.stages:
                print(line, flush=True)


def paper_config(home: Path, size: Size | None) -> tuple[dict[str, Any], list[str]]:
    """The configuration of two steps on images below `home`, and what is not the paper's in it."""
    config = read_mapping(ROOT / "config.yaml")
    config = experiments.merged(config, read_mapping(ROOT / "workflow/config/paper.yaml"))
    overlay: dict[str, Any] = {
        stage: {"steps": STEPS} for stage, (_, files) in FILES.items() if "metrics.jsonl" in files
    }
    overlay["warmup"]["decoder_warmup"] = 0  # every step is a full one
    overlay["simclr"]["steps"] = 0  # the student is imported, or stays random
    if size:
        overlay["input"] = {"size": list(size), "source_size": list(size)}
    remarks = []
    experiment = config["experiments"]["paper"]
    for section, name in ((experiment["pretrain"], "pretrain"), (experiment["simclr"], "simclr")):
        if not present(section["weights"]):
            remarks.append(f"{name}.weights: {section['weights']} is not here: random weights")
            overlay[name]["weights"] = ""
    decoders = experiment["loops"]["decoders"]
    if not present(decoders["lpips_weights"]):
        remarks.append(f"lpips_weights: {decoders['lpips_weights']} is not here: random weights")
        overlay["loops"] = {"decoders": {"lpips_weights": ""}}
    data = experiment["data"]
    overlay["data"] = {name: {"root": str(home / data[name]["root"])} for name in data if "root" in data[name]}
    overlay["data"]["night_tests"] = {
        name: {"root": str(home / test["root"])} for name, test in data["night_tests"].items()
    }
    config["experiments"]["paper"] = experiments.merged(experiment, overlay)
    day, night = (2048, 1024), (1920, 1080)
    write_cityscapes(home / data["source"]["root"], size or day)
    write_dark_zurich(home / data["night"]["root"], size or night)
    write_nighttime_driving(home / data["night_tests"]["nighttime-driving"]["root"], size or night)
    return config, remarks


def present(weights: str) -> bool:
    """Whether a file of weights is here without fetching it."""
    entry = CATALOGUE.get(weights)
    return (folder() / entry.file if entry else Path(weights)).is_file()


def measured(stage: str, config: Mapping[str, Any], home: Path, arguments: argparse.Namespace) -> str:
    """Run a stage with the largest crop that fits, and say what it took."""
    section = experiments.section(config, "paper", stage)
    trains = "metrics.jsonl" in FILES[stage][1]
    width, height = arguments.crop or section.get("input", {}).get("crop", (0, 0))
    while True:
        if trains:
            section["input"]["crop"] = [width, height]
        finished = run(stage, section, home, arguments)
        if not finished.ran_out_of_memory or not trains or min(width, height) // 2 < SHORTEST:
            break
        print(f"{stage}: {width}x{height} does not fit into {arguments.memory:g} GiB", flush=True)
        width, height = (width // 2, height) if width >= height else (width, height // 2)
    if not finished.succeeded:
        sys.exit(finished.output)
    text = f"{stage}: {finished.seconds:.0f} s in all, peak {finished.memory:.1f} GiB"
    records = (home / stage / "metrics.jsonl").read_text(encoding="utf-8").splitlines() if trains else []
    if records:
        seconds = json.loads(records[-1])["seconds"]
        text += f", {seconds / STEPS:.1f} s a step of batch {section['batch_size']}, crop {width}x{height}"
    return text


def run(stage: str, section: Mapping[str, Any], home: Path, arguments: argparse.Namespace) -> Finished:
    """The stage's own command in a process of its own."""
    reads, writes = FILES[stage]
    out = home / stage
    out.mkdir(exist_ok=True)
    (out / "config.yaml").write_text(experiments.as_yaml(section), encoding="utf-8")
    flags = {"config": out / "config.yaml", "log": out / "log"}
    flags |= {Path(name).stem: home / path for name, path in reads.items()}
    flags |= {Path(name).stem: out / name for name in writes}
    if stage == "prepare":
        flags |= {"sheet": out / "contact_sheet.png"}
    else:
        flags |= {"device": arguments.device, "threads": arguments.threads}
        flags |= {} if stage == "pseudo_labels" else {"seed": 0}
        flags |= {"experiment": "paper"} if stage == "evaluate" else {}
    words = [word for name, value in flags.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    limit = round(arguments.memory * 2**30)
    started = time.monotonic()
    with open(out / "output", "w+", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", f"loopda.stages.{stage}", *words],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)),
        )
        _, status, usage = os.wait4(process.pid, 0)  # of this one process, where getrusage gives the largest of all
        output.seek(0)
        return Finished(status == 0, output.read(), time.monotonic() - started, usage.ru_maxrss / 2**20)


def write_cityscapes(root: Path, size: Size) -> None:
    """TRAINED random images with labels in the folders of Cityscapes, and MEASURED ones to measure on."""
    for split, city, count in (("train", "aachen", TRAINED), ("val", "munster", MEASURED)):
        for number in range(count):
            name = f"{split}/{city}/{city}_{number:06d}_000019"
            photograph(root / f"leftImg8bit/{name}_leftImg8bit.png", size)
            label(root / f"gtFine/{name}_gtFine_labelIds.png", size)


def write_dark_zurich(root: Path, size: Size) -> None:
    """TRAINED random pairs in the folders of Dark Zurich with their list, and MEASURED images to measure on."""
    pairs = []
    for number in range(TRAINED):
        pair = [f"train/night/GOPR0351/GOPR0351_frame_{number:06d}", f"train/day/GOPR0345/GOPR0345_frame_{number:06d}"]
        for name in pair:
            photograph(root / f"rgb_anon/{name}_rgb_anon.png", size)
        pairs.append(",".join(pair) + "\n")
    (root / "zurich_dn_pair_train.csv").write_text("".join(pairs), encoding="utf-8")
    for number in range(MEASURED):
        name = f"val/night/GOPR0356/GOPR0356_frame_{number:06d}"
        photograph(root / f"rgb_anon/{name}_rgb_anon.png", size)
        label(root / f"gt/{name}_gt_labelIds.png", size)


def write_nighttime_driving(root: Path, size: Size) -> None:
    """MEASURED random images with labels in the folders of Nighttime Driving."""
    for number in range(MEASURED):
        photograph(root / f"leftImg8bit/test/night/0_frame_{number:04d}_leftImg8bit.png", size)
        label(root / f"gtCoarse_daytime_trainvaltest/test/night/0_frame_{number:04d}_gtCoarse_labelIds.png", size)


def photograph(path: Path, size: Size) -> None:
    """A picture of smooth random colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(zlib.crc32(path.name.encode())).integers(0, 256, (9, 16, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path)


def label(path: Path, size: Size) -> None:
    """A label map of random rectangles of every class."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = [values[0] for values in CITYSCAPES.encoding("labelIds").ids]
    coarse = np.random.default_rng(len(str(path))).choice(np.array(ids, dtype=np.uint8), (9, 16))
    Image.fromarray(coarse).resize(size, Image.Resampling.NEAREST).save(path)


if __name__ == "__main__":
    begin_program()
    main()
