"""Made-up results of every stage, small and with known numbers, for the tests of `report` and `compare`.

By hand, `python tests/stages/fabricated_results.py FOLDER` makes a rich set and its pages, to be looked at.
"""

import json
import sys
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from loopda.config import parse_section
from loopda.evaluation.confusion import confusion_matrix
from loopda.evaluation.scores import Scores
from loopda.labels.classes import CITYSCAPES
from loopda.labels.png import write_label
from loopda.pipeline import comparisons

STAGES = ("pretrain", "warmup", "self_train", "distill")
WRONG = {
    "night": {"pretrain": 0.5, "warmup": 0.35, "self_train": 0.2, "distill": 0.14},
    "day": {"pretrain": 0.1, "warmup": 0.11, "self_train": 0.1, "distill": 0.12},
}


NOTES = (
    "source: classes without a pixel: train",
    "night: no references: terms that need one are left out",
    "night: 2 left out, hidden files: night/.a.png and night/.b.png",
    "night_val: 3 of its images are in night too: its scores are transductive (night/7.png, for one)",
)
"""Notes of `prepare` on the data."""


def scene(generator, width, height, domain):
    """A label map with a road, houses, sky and some of every class but the train, and a photograph of it."""
    label = np.full((height, width), 10, dtype=np.uint8)
    horizon = height * 2 // 5
    label[horizon:] = 0
    for left in range(0, width, width // 6):
        label[generator.integers(2, horizon) : horizon + height // 10, left : left + width // 7] = 2
    for index in [1, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 17, 18]:
        row, column = (
            generator.integers(height // 4, height * 4 // 5),
            generator.integers(0, width - width // 10),
        )
        label[row : row + height // 7, column : column + width // (24 if index in (5, 6, 7, 11, 12) else 10)] = index
    label[-height // 16 :] = 255
    light = 0.25 if domain == "night" else 0.9
    tint = (0.9, 0.95, 1.25) if domain == "night" else (1.0, 1.0, 0.98)
    photograph = (CITYSCAPES.colour_map(label) * 0.55 + 70) * light * tint + generator.normal(0, 9, (height, width, 3))
    return label, Image.fromarray(photograph.clip(0, 255).astype(np.uint8))


def predicted(generator, label, wrong):
    """The truth with a share of its columns' blocks replaced by other classes; void is guessed too."""
    guess = np.where(label == 255, 0, label).astype(np.uint8)
    for row in range(0, label.shape[0], 8):
        for column in range(0, label.shape[1], 8):
            if generator.random() < wrong:
                guess[row : row + 8, column : column + 8] = generator.choice([0, 2, 8, 10, 13])
    return guess


def evaluation(
    folder, experiment, seed, stage, *, images=4, size=(64, 32), predictions=True, domains=("night", "day"), wrong=None
):
    """Write the scores JSON of one model, and the pictures that it names; return its path.

    wrong: the share of wrong blocks by set of images, by default that of the stage.
    """
    wrong = wrong or {domain: by_stage[stage] for domain, by_stage in WRONG.items()}
    number = STAGES.index(stage) if stage in STAGES else len(experiment)
    generator = np.random.default_rng([seed, number])
    width, height = size
    blocks = {}
    for domain in domains:
        matrix, items = np.zeros((19, 19), dtype=np.int64), []
        for index in range(images):
            label, photograph = scene(np.random.default_rng([index, domain == "day"]), width, height, domain)
            guess = predicted(generator, label, wrong[domain])
            matrix += confusion_matrix(guess, label, 19)
            image, truth = (folder / f"data/{domain}{index}{end}" for end in (".png", "_truth.png"))
            mask = folder / f"predictions/{experiment}/seed{seed}/{stage}/{domain}{index}.png"
            if predictions:
                image.parent.mkdir(parents=True, exist_ok=True)
                photograph.save(image)
                write_label(truth, label)
                write_label(mask, guess, CITYSCAPES)
                items.append({"image": str(image), "label": str(truth), "prediction": str(mask)})
        scores = Scores(CITYSCAPES.names, matrix)
        protocol = {
            "images": images,
            "width": width,
            "height": height,
            "upsampling": "bilinear, corners aligned",
            "normalisation": f"{domain} statistics",
            "absent": scores.absent,
        }
        blocks[domain] = {"protocol": protocol, **scores.to_json(), "predictions": items}
    path = folder / f"results/evaluate/{experiment}/seed{seed}/{stage}.json"
    return write(
        path,
        {
            "model_stage": stage,
            "experiment": experiment,
            "seed": seed,
            "model": f"results/{stage}/{experiment}/seed{seed}/model.pt",
            "sha256": f"{number % 10}{seed}" * 32,
            "parameters": 912_345 if stage != "distill" else 1_400_000,
            "classes": list(CITYSCAPES.names),
            "colours": [list(colour) for colour in CITYSCAPES.colours],
            "domains": blocks,
        },
    )


def plain_evaluation(folder, experiment, seed, stage, night, day):
    """Scores of two classes with exactly the given IoU of both (whole percents), without pictures."""
    domains = {}
    for domain, percent in (("night", night), ("day", day)):
        # IoU = hits / (hits + 2 misses) of both classes
        hits, misses = 2 * percent, 100 - percent
        scores = Scores(("road", "car"), np.array([[hits, misses], [misses, hits]], dtype=np.int64))
        protocol = {"images": 5, "width": 64, "height": 32, "normalisation": f"{domain} statistics"}
        domains[domain] = {"protocol": protocol, **scores.to_json()}
    values = {
        "model_stage": stage,
        "experiment": experiment,
        "seed": seed,
        "model": "model.pt",
        "parameters": 10,
    }
    values |= {"classes": ["road", "car"], "colours": [[128, 64, 128], [0, 0, 142]], "domains": domains}
    return write(folder / f"results/evaluate/{experiment}/seed{seed}/{stage}.json", values)


def metrics(folder, experiment, seed, stage, *, steps=60, names=("loss", "inner_loop", "outer_loop")):
    """Write a metrics.jsonl with falling losses; return its path."""
    generator = np.random.default_rng([seed, len(stage)])
    path = folder / f"results/{stage}/{experiment}/seed{seed}/metrics.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        {
            "step": 20 * (index + 1),
            "seconds": 3.1 * (index + 1),
            "images_per_second": 15 + float(generator.normal()),
            **{
                name: float((1 + place) * np.exp(-4 * index / steps) + 0.15 * generator.random())
                for place, name in enumerate(names)
            },
        }
        for index in range(steps)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def section(folder, experiment, seed, stage, text=None):
    """Write a resolved config.yaml; return its path."""
    path = folder / f"results/{stage}/{experiment}/seed{seed}/config.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        text or f"stage: {stage}\nsteps: 1200\nlearning_rate: 0.0025  # paper, section 4.1\ncrop: [128, 128]\n"
    )
    return path


def illustrations(folder, seed, *, size=(64, 32), rows=2, images=40):
    """Write an illustrations.json with its pictures, overlaps, thresholds and a note; return its path."""
    generator = np.random.default_rng(seed)
    home = folder / f"results/self_train/loopda/seed{seed}"
    (home / "pictures").mkdir(parents=True, exist_ok=True)

    def photograph(name, domain):
        scene(generator, *size, domain)[1].save(home / f"pictures/{name}.png")
        return f"pictures/{name}.png"

    def drawing(name):
        label, _ = scene(generator, *size, "night")
        Image.fromarray(CITYSCAPES.colour_map(label)).save(home / f"pictures/{name}.png")
        return f"pictures/{name}.png"

    def translation(row):
        kinds = ("night", "day", "night", "day", "night", "day")
        return [photograph(f"translation{row}_{place}", kind) for place, kind in enumerate(kinds)]

    def labels(row):
        return [photograph(f"night{row}", "night"), photograph(f"reference{row}", "day")] + [
            drawing(f"labels{row}_{place}") for place in range(4)
        ]

    metres = generator.gamma(1.2, 2.5, images)
    overlaps = np.clip(0.9 * np.exp(-metres / 6) + generator.normal(0, 0.06, images), 0, 1)
    predicted_pixels = (2e6 * 0.72 ** np.arange(19)).astype(int)
    thresholds = {
        name: {
            "threshold": float(0.95 - 0.02 * index),
            "predicted": int(count),
            "kept": int(count * (0.5 + index / 60)),
        }
        for index, (name, count) in enumerate(zip(CITYSCAPES.names, predicted_pixels, strict=True))
    }
    columns = ["night", "night → day", "night → day → night", "day", "day → night", "day → night → day"]
    values = {
        "seed": seed,
        "panels": [
            {
                "title": "Translations and reconstructions",
                "caption": "Each image, its translation to the other domain, and the way back.",
                "columns": ["night image", *columns[1:]],
                "rows": [translation(row) for row in range(rows)],
            },
            {
                "title": "Labels of a night image",
                "caption": "Offline labels, static labels of the day reference, dynamic and night agreement.",
                "columns": ["night image", "day reference", "offline", "static", "agreement", "used"],
                "rows": [labels(row) for row in range(rows)],
            },
        ],
        "lor": [
            {
                "night": f"night{index}",
                "lor": float(value),
                "chosen": "static" if value > 0.5 else "agreement",
                "metres": float(way),
            }
            for index, (value, way) in enumerate(zip(overlaps, metres, strict=True))
        ],
        "tau": 0.5,
        "thresholds": thresholds,
        "notes": ["LPIPS trunk: random weights, because the town has no pretrained ones."],
    }  # fmt: skip
    return write(home / "illustrations.json", values)


def pairs(folder, seed, *, lors, tau):
    """Write a ranking.json with two day images for each of `lors`, and a contact sheet; return both by their flags."""
    home = folder / f"results/pair/loopda/seed{seed}"
    images = [
        {
            "night": f"night{index}.png",
            "best": [{"day": f"day{index}.png", "lor": lor}, {"day": "other.png", "lor": lor / 2}],
        }
        for index, lor in enumerate(lors)
    ]
    values = {"overlap": "each_static", "tau": tau, "candidates": 7, "images": images}
    ranking = write(home / "ranking.json", values)
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 135, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((1350, 40), Image.Resampling.BICUBIC).save(home / "contact_sheet.png")
    return {"ranking": ranking, "sheet": home / "contact_sheet.png"}


def data_summary(folder, notes):
    """Write a summary.json of `prepare` with these notes; return its path."""
    sets = {name: {"images": 4} for name in ("source", "night", "day_val", "night_val")}
    return write(folder / "results/prepare/loopda/summary.json", {"classes": [], "sets": sets, "notes": list(notes)})


def with_statistics(path, *, domain="night", used="night", other="own", distance=0.1, **by_other):
    """Add to a file of `plain_evaluation` the scores by other statistics, those of another evaluation (`night`, `day`
    in whole percents); `distance` from the used ones."""
    values = json.loads(path.read_text())
    instead = plain_evaluation(path.parent / "other", "loopda", 0, "pretrain", **{"night": 10, "day": 10} | by_other)
    block = json.loads(instead.read_text())["domains"][domain]
    del block["protocol"]
    values["domains"][domain]["statistics"] = {
        "used": used,
        "distances": {"night": distance, "day": 9.0},
        "far": 1.0,
        "other": {"used": other, **block},
    }
    return write(path, values)


def write(path, values):
    """Write JSON and make its folder; return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))
    return path


def everything(folder, *, seeds=(0, 1, 2), size=(64, 32), images=4, steps=60, names=("loss", "inner_loop")):
    """The inputs of a full report, as the flags of the stage name them."""
    runs = [(stage, seed) for seed in seeds for stage in STAGES]
    return {
        "scores": [evaluation(folder, "loopda", seed, stage, size=size, images=images) for stage, seed in runs],
        "metrics": [metrics(folder, "loopda", seed, stage, steps=steps, names=names) for stage, seed in runs],
        "pictures": [illustrations(folder, seeds[0], size=size)],
        "sections": [section(folder, "loopda", seed, stage) for stage, seed in runs],
        "data": data_summary(folder, NOTES),
    }


def benchmark(folder, experiment, seed, stage, megabytes):
    """Write what Snakemake measures of a job; return its path."""
    path = folder / f"benchmarks/{stage}/{experiment}/seed{seed}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\tmax_rss\tmax_vms\n186.2\t0:03:06\t{megabytes}\t4000\n")
    return path


def compared(folder, config, comparison, *, seeds=(0, 1, 2), evaluated=evaluation, steps=60):
    """The inputs of the stage `compare` for a configuration, as its flags name them."""
    from loopda.stages.compare import Config

    rows = comparisons.models(config, comparison)
    behind = dict.fromkeys(one for model in rows for one in comparisons.trained(config, model))
    runs = [(one.experiment, seed, one.stage) for one in behind for seed in seeds]
    return {
        "config": parse_section(comparisons.table(config, comparison), Config, "fabricated"),
        "scores": [evaluated(folder, model.experiment, seed, model.stage) for model in rows for seed in seeds],
        "metrics": [metrics(folder, *run, steps=steps) for run in runs],
        "benchmarks": [benchmark(folder, *run, 700 + 40 * len(run[0])) for run in runs],
    }


if __name__ == "__main__":
    from loopda.stages import compare
    from loopda.stages.report import Config, run

    home = Path(sys.argv[1])
    losses = "loss segmentation_day segmentation_night inner_day inner_night outer adversarial learning_rate"
    inputs = everything(home, seeds=(0, 1, 2), size=(256, 128), images=24, steps=400, names=losses.split())
    run(config=Config(), **inputs, page=home / "page.html", table=home / "table.txt", log=home / "report.log")

    def plausible(folder, experiment, seed, stage):
        better = {"pretrain": 0.5, "warmup": 0.3, "self_train": 0.24, "distill": 0.21}
        share = better.get(stage, 0.47 - 0.011 * len(experiment)) - (0.4 if experiment == "oracle" else 0)
        share += 0.02 if experiment[:4] == "tau-" and experiment != "tau-0.5" else 0
        shares = {"night": share, "day": 0.1 + (0.3 if experiment == "oracle" else 0)}
        more = {"images": 8, "size": (128, 64), "predictions": False, "wrong": shares}
        return evaluation(folder, experiment, seed, stage, **more)

    settings = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text())
    for name in ("run", "compare", "ablation", "tau"):
        inputs = compared(home / name, settings, name, evaluated=plausible)
        outputs = {"page": home / f"{name}.html", "table": home / f"{name}.md", "csv": home / f"{name}.csv"}
        compare.run(**inputs, **outputs, log=home / f"{name}.log")
