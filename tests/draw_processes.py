"""The losses of the warm-up in one process and in two, on top of each other: python -m tests.draw_processes FILE.png

On the miniature town, on CPUs, in single precision above and in double precision below. The two part by rounding, which
training magnifies: after some ten steps above, after some fifty below.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import matplotlib

matplotlib.use("svg")

import miniature
from matplotlib import pyplot
from PIL import Image
from several_processes import Task, alone, in_double_precision, in_processes, recorded_losses, run

STEPS = 60
TERMS = {"seg_d": "day's cross-entropy", "outer_n": "night's outer loop", "discriminator_day": "day's discriminator"}


def train(folder: Path, mini: miniature.Miniature, tasks: list[Task]) -> None:
    """Each task in one process, then in all; the second task in double precision."""
    for number, task in enumerate(tasks):
        if number:
            in_double_precision()
        with alone() as first:
            if first:
                run(mini, task, folder / "one" / task.name)
        run(mini, task, folder / "two" / task.name)


def draw(folder: Path, names: list[str], path: Path) -> None:
    """One row for each precision, one panel for each term."""
    figure, rows = pyplot.subplots(len(names), len(TERMS), figsize=(9, 4.2), sharex=True, layout="constrained")
    for name, row in zip(names, rows, strict=True):
        one, two = (recorded_losses(folder / processes / f"{name}.0.jsonl") for processes in ("one", "two"))
        for (term, title), axes in zip(TERMS.items(), row, strict=True):
            for losses, look in ((one, {"color": "#999999", "lw": 4}), (two, {"color": "#c0392b", "lw": 1})):
                shown = [(line["step"], line[term]) for line in losses if term in line]
                axes.plot(*zip(*shown, strict=True), label="1 process" if losses is one else "2 processes", **look)
            apart = max(abs(a[term] / b[term] - 1) for a, b in zip(one, two, strict=True) if term in a)
            axes.set_title(f"{title}, {name}: at most {apart:.0e} apart", fontsize=8)
            axes.tick_params(labelsize=7)
    rows[0][0].legend(fontsize=7)
    figure.supxlabel("step", fontsize=8)
    figure.savefig(path, dpi=90)
    with Image.open(path) as image:
        image.convert("RGB").quantize(32, dither=Image.Dither.NONE).save(path, optimize=True)


def main(path: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        mini = miniature.miniature_in(folder / "miniature", miniature.base_config())
        config = mini.section("warmup", steps=STEPS, decoder_warmup=5)
        tasks = [Task(name, "warmup", {"config": config, **mini.inputs("warmup")}) for name in ("single", "double")]
        codes = in_processes(2, train, folder, mini, tasks)
        if codes != [0, 0]:
            sys.exit(f"the processes ended with {codes}")
        draw(folder, [task.name for task in tasks], path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
