"""How fast `predict` is, and that its memory does not grow with the number of images.

    python scripts/measure_predict.py [--device cpu] [--threads 2] [--pictures colour overlay] [--model model.pt]

Runs the command of the stage on 25 and on 100 images of 960x540 and prints images per second (of the images alone, as
the stage says, and of the whole process with its start) and the peak of resident memory. Without a model: the tiny
network of config.yaml with random weights, whose noisy label maps compress worse than a trained model's.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from loopda.config import parse_section
from loopda.labels.classes import CITYSCAPES
from loopda.models.checkpoint import save_segmenter
from loopda.models.segmenter import DOMAINS, Network, Segmenter, running_statistics
from loopda.text.encoding import begin_program
from loopda.text.strict_yaml import read_mapping

ROOT = Path(__file__).parents[1]
WIDTH, HEIGHT = 960, 540
COUNTS = (25, 100)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--pictures", nargs="*", default=[])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model or tiny_model(Path(folder) / "model.pt")
        for count in COUNTS:
            images = night_images(Path(folder) / f"{count}", count)
            command = [sys.executable, "-m", "loopda.stages.predict", "--model", model, "--images", images]
            command += ["--out", f"{images}.out", "--device", arguments.device, "--threads", arguments.threads]
            print(measured([*map(str, command), "--pictures", *arguments.pictures], count), flush=True)


def measured(command: list[str], count: int) -> str:
    """Run `command` and say what it took."""
    started = time.monotonic()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8", cwd=ROOT)
    output = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)  # of this one process, where getrusage gives the largest of all
    if status:
        sys.exit(output)
    seconds = time.monotonic() - started
    speed = re.search(r"\(([\d.]+) images/s\)", output)[1]
    return f"{count} images: {speed} images/s, {count / seconds:.1f} with the start, {usage.ru_maxrss / 1024:.0f} MiB"


def tiny_model(path: Path) -> Path:
    """Write the checkpoint of config.yaml's network with random weights."""
    config = read_mapping(ROOT / "config.yaml")
    torch.manual_seed(0)
    segmenter = Segmenter(parse_section(config["network"], Network, "config.yaml"), CITYSCAPES)
    segmenter.statistics = {domain: running_statistics(segmenter) for domain in DOMAINS}
    save_segmenter(segmenter, path, config={"input": config["input"]})
    return path


def night_images(folder: Path, count: int) -> Path:
    """Write `count` dark PNGs with shapes and noise, which compress about as photographs do."""
    folder.mkdir()
    draws = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(draws.integers(0, 120, (9, 16, 3), dtype=np.uint8))
        shapes = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)).astype(np.int16)
        noisy = shapes + draws.integers(-4, 5, shapes.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number:04d}.png")
    return folder


if __name__ == "__main__":
    begin_program()
    main()
