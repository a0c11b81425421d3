"""What many tests share: the repository's folder, and a miniature of the pipeline that runs in this process.

The town has 64 x 32 pixels and a handful of images, the networks have four channels, and every stage trains
for a few steps on one thread, so that equal runs are equal bit for bit.
"""

import importlib
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml

from loopda import experiments
from loopda.config import Section, parse_section

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(Path(__file__).parent))  # tests import checkpoints.py and public_trees.py by their names

hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is no fault
hypothesis.settings.load_profile("untimed")

TOWN = {
    "width": 64,
    "height": 32,
    "source_train": 8,
    "source_val": 4,
    "night_train": 8,
    "night_val": 4,
    "supersample": 1,
}

# each stage: where its inputs come from, and its declared outputs; "stage/file" is a file of that stage
PREPARED = {
    "source": "prepare/source.csv",
    "night": "prepare/night.csv",
    "classes": "prepare/classes.json",
}
WIRING: dict[str, tuple[dict[str, str], dict[str, str]]] = {
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
        | {"day": "prepare/day.csv", "warmed_up": "warmup/model.pt"},
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
        return {name: self.path(*source.split("/")) for name, source in WIRING[stage][0].items()}

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
        return values | changes

    def run(self, stage: str, out: Path, **changes: Any) -> None:
        """Run `stage` in this process with its outputs in the folder `out`."""
        importlib.import_module(f"loopda.stages.{stage}").run(**self.arguments(stage, out, **changes))


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def base_config() -> dict[str, Any]:
    """config.yaml with workflow/config/smoke.yaml over it; a test that changes it takes a deep copy."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    return experiments.merged(config, yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text()))


@pytest.fixture(scope="session")
def miniature_town() -> dict[str, Any]:
    """The section `town` of the miniature."""
    return dict(TOWN)


@pytest.fixture(scope="session")
def miniature(tmp_path_factory: pytest.TempPathFactory, base_config: dict[str, Any]) -> Miniature:
    """The experiment `smoke` on the miniature town. Its files are shared: a test changes copies of them."""
    folder = tmp_path_factory.mktemp("miniature")
    town = folder / "town"
    data = {
        "source": {"root": f"{town}/Cityscapes"},
        "day_val": {"root": f"{town}/Cityscapes"},
        "night": {"root": f"{town}/DarkZurich"},
        "night_val": {"root": f"{town}/DarkZurich"},
    }
    return Miniature(folder, experiments.merged(base_config, {"town": TOWN, "data": data}))


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of an untrained network for the 19 classes, of images of 64 x 32, with two sets of statistics."""
    import torch
    from checkpoints import small_network

    from loopda.labels.classes import CITYSCAPES
    from loopda.models.segmenter import Segmenter, estimate_statistics, save_segmenter

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = small_network(head_channels=8, output_stride=4, dropout=0.0)
        segmenter = Segmenter(network, CITYSCAPES)
        images = torch.rand(4, 3, 32, 64) * 2 - 1
        segmenter.statistics = {
            "day": estimate_statistics(segmenter, [images]),
            "night": estimate_statistics(segmenter, [images / 4 - 0.7]),
        }
    path = tmp_path_factory.mktemp("small model") / "model.pt"
    config = {"input": {"size": [64, 32], "crop": [64, 32]}}
    save_segmenter(segmenter, path, stage="warmup", seed=0, config=config)
    return path
