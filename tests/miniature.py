"""The pipeline in miniature, in this process: the same stages on a handful of images with networks of four channels.

The town has 64 x 32 pixels, and every stage trains for a few steps on one thread: equal runs are equal bit for bit.
"""

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from loopda.config import Section, parse_section
from loopda.pipeline import experiments

ROOT = Path(__file__).parent.parent

TOWN = {
    "width": 64,
    "height": 32,
    "source_train": 8,
    "source_val": 4,
    "night_train": 8,
    "night_val": 4,
    "day_test": 3,
    "night_test": 3,
    "supersample": 1,
}

# each stage: where its inputs come from, and its declared outputs; "stage/file" is a file of that stage
PREPARED = {
    "source": "prepare/source.csv",
    "night": "prepare/night.csv",
    "classes": "prepare/classes.json",
}
WIRING: dict[str, tuple[dict[str, str | list[str]], dict[str, str]]] = {
    "town": (
        {},
        {"summary": "town.json", "poses": "poses.csv", "oracle": "oracle/night.csv", "sheet": "contact_sheet.png"},
    ),
    "prepare": (
        {},
        {
            "source": "source.csv",
            "night": "night.csv",
            "day_val": "day_val.csv",
            "night_val": "night_val.csv",
            "day_test": "day_test.csv",
            "night_test": "night_test.csv",
            "day": "day.csv",
            "classes": "classes.json",
            "summary": "summary.json",
            "sheet": "contact_sheet.png",
        },
    ),
    "pretrain": (PREPARED, {"model": "model.pt", "metrics": "metrics.jsonl"}),
    "warmup": (
        PREPARED | {"pretrained": "pretrain/model.pt"},
        {"model": "model.pt", "loops": "loops.pt", "metrics": "metrics.jsonl"},
    ),
    "pair": (
        {name: PREPARED[name] for name in ("night", "classes")}
        | {"day": ["prepare/day.csv"], "warmed_up": "warmup/model.pt"},
        {"paired": "night.csv", "pairs": "pairs.csv", "ranking": "ranking.json", "sheet": "contact_sheet.png"},
    ),
    "pseudo_labels": (
        {name: PREPARED[name] for name in ("night", "classes")} | {"warmed_up": "warmup/model.pt"},
        {"labels": "labels.csv", "statistics": "statistics.json"},
    ),
    "self_train": (
        PREPARED
        | {
            "warmed_up": "warmup/model.pt",
            "loops": "warmup/loops.pt",
            "labels": "pseudo_labels/labels.csv",
        },
        {"model": "model.pt", "metrics": "metrics.jsonl"},
    ),
    "simclr": (
        PREPARED | {"pretrained": "pretrain/model.pt"},
        {"model": "model.pt", "metrics": "metrics.jsonl"},
    ),
    "translate": (
        PREPARED | {"pretrained": "pretrain/model.pt"},
        {
            "translated": "source.csv",
            "generators": "generators.pt",
            "metrics": "metrics.jsonl",
            "sheet": "contact_sheet.png",
        },
    ),
    "adapt": (
        PREPARED | {"pretrained": "pretrain/model.pt"},
        {"model": "model.pt", "metrics": "metrics.jsonl"},
    ),
    "distill": (
        PREPARED | {"teacher": "self_train/model.pt", "student": "simclr/model.pt"},
        {"model": "model.pt", "metrics": "metrics.jsonl"},
    ),
    "evaluate": (
        {"model": "warmup/model.pt", "classes": "prepare/classes.json"}
        | {name: f"prepare/{name}.csv" for name in ("night_val", "day_val", "night_test", "day_test")},
        {"scores": "warmup.json"},
    ),
    "illustrate": (
        PREPARED
        | {"warmed_up": "warmup/model.pt", "loops": "warmup/loops.pt"}
        | {"labels": "pseudo_labels/labels.csv", "statistics": "pseudo_labels/statistics.json"},
        {"illustrations": "illustrations.json"},
    ),
}
NO_SEED = ("town", "prepare", "pair", "pseudo_labels")


@dataclass
class Miniature:
    """The pipeline in a folder: `folder/<stage>/<file>`. A stage runs when it is first asked for."""

    folder: Path
    config: dict[str, Any]
    done: set[str] = field(default_factory=set)

    def section(self, stage: str, **changes: Any) -> Section:
        """The resolved section of `stage`, as its run() takes it, with top-level `changes`."""
        values = experiments.section(self.config, "smoke", stage) | changes
        return parse_section(values, importlib.import_module(f"loopda.stages.{stage}").Config, "miniature")

    def method(self, name: str, **changes: Any) -> Section:
        """The section of `adapt` with the method `name`, which has `changes`."""
        chosen = {"experiments": {"smoke": {"adapt": {"method": name}, "methods": {name: changes}}}}
        values = experiments.section(experiments.merged(self.config, chosen), "smoke", "adapt")
        return self.section("adapt", method=values["method"])

    def inputs(self, stage: str) -> dict[str, Path]:
        """The input files of `stage`, made by its ancestors."""
        return {
            name: [self.path(*one.split("/")) for one in source]
            if isinstance(source, list)
            else self.path(*source.split("/"))
            for name, source in WIRING[stage][0].items()
        }

    def path(self, stage: str, name: str) -> Path:
        """The file `name` of `stage`, which runs for it if it has not yet."""
        if stage not in self.done:
            if stage == "prepare":
                self.path("town", "town.json")
            self.run(stage, self.folder / stage)
            self.done.add(stage)
        return self.folder / stage / name

    def arguments(self, stage: str, out: Path, **changes: Any) -> dict[str, Any]:
        """The keyword arguments of the stage's run(), with its outputs in the folder `out`."""
        log = out.parent / f"{out.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        values: dict[str, Any] = {"config": self.section(stage), **self.inputs(stage), "log": log}
        values |= {name: out / file for name, file in WIRING[stage][1].items()}
        if stage not in ("town", "prepare"):
            values |= {"device": "cpu", "threads": 1}
        if stage not in NO_SEED:
            values["seed"] = 0
        if stage == "evaluate":
            values["experiment"] = "smoke"
        return values | changes

    def flags(self, stage: str, out: Path, **changes: Any) -> list[str]:
        """The command line of the stage with its outputs in the folder `out`, and its section in a file beside that."""
        values = self.arguments(stage, out, **changes)
        config = out.parent / f"{stage}.yaml"
        config.write_text(yaml.safe_dump(values["config"].model_dump(mode="json", exclude_none=True)))
        values["config"] = config
        return [
            text
            for name, value in values.items()
            for text in (f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, list) else [value]))
        ]

    def run(self, stage: str, out: Path, **changes: Any) -> None:
        """Run `stage` in this process with its outputs in the folder `out`."""
        importlib.import_module(f"loopda.stages.{stage}").run(**self.arguments(stage, out, **changes))


def base_config() -> dict[str, Any]:
    """config.yaml with workflow/config/smoke.yaml over it."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    return experiments.merged(config, yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text()))


def miniature_in(folder: Path, config: dict[str, Any]) -> Miniature:
    """The experiment `smoke` of `config` on the miniature town, with all its files below `folder`."""
    town = folder / "town"
    data = {
        "source": {"root": f"{town}/Cityscapes"},
        "day_val": {"root": f"{town}/Cityscapes"},
        "day_test": {"root": f"{town}/Cityscapes"},
        "night": {"root": f"{town}/DarkZurich"},
        "night_val": {"root": f"{town}/DarkZurich"},
        "night_test": {"root": f"{town}/DarkZurich"},
    }
    return Miniature(folder, experiments.merged(config, {"town": TOWN, "data": data}))
