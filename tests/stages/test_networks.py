"""Every network serves every stage, on the miniature."""

import importlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loopda.errors import ConfigError
from loopda.labels.png import read_label
from loopda.models.checkpoint import load_segmenter
from loopda.pipeline import experiments
from loopda.stages import evaluate, export, predict

NETWORKS: dict[str, dict[str, Any]] = {
    "deeplab": {"network": {"name": "deeplab"}},
    "daformer": {
        "network": {"name": "daformer", "encoder": "mit_tiny", "normalisation": "imagenet"},
        "simclr": {"normalisation": "imagenet"},
    },
    "efficientnet": {
        "network": {"encoder": "efficientnet_lite0", "normalisation": "lite"},
        "pretrain": {"weights": "efficientnet-lite0"},
        "simclr": {"normalisation": "lite"},
    },
}


@pytest.fixture(scope="module", params=NETWORKS)
def other(request, miniature, tmp_path_factory):
    """The miniature with another network, on the same town."""
    miniature.path("prepare", "source.csv")
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "prepare").symlink_to(miniature.folder / "prepare")
    config = experiments.merged(miniature.config, {"experiments": {"smoke": NETWORKS[request.param]}})
    return type(miniature)(folder, config, {"town", "prepare"})


def name_of(other) -> str:
    return other.section("pretrain").network.name


def encoder_of(other) -> str:
    return other.section("pretrain").network.encoder


def recorded(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("stage", ["pretrain", "warmup", "self_train", "simclr", "distill"])
def test_a_stage_trains_the_network_and_leaves_it_behind(other, stage):
    model = load_segmenter(other.path(stage, "model.pt"))
    assert (model.section.name, model.section.encoder) == (name_of(other), encoder_of(other))
    losses = recorded(other.folder / stage)[-1]
    assert all(math.isfinite(value) for value in losses.values())
    if stage != "simclr":
        assert set(model.statistics) == {"day", "night"}


def test_pairs_and_pseudo_labels_are_made_by_the_network(other):
    assert other.path("pair", "pairs.csv").is_file()
    lines = other.path("pseudo_labels", "labels.csv").read_text().splitlines()
    assert len(lines) > 8


@pytest.mark.parametrize("name", ["source_only", "dann", "daformer"])
def test_a_method_adapts_the_network(other, name, tmp_path):
    other.run("adapt", tmp_path / name, config=other.method(name))
    assert load_segmenter(tmp_path / name / "model.pt").section.name == name_of(other)


def test_a_method_of_the_auxiliary_head_adapts_a_network_that_has_one_and_refuses_the_other(other, tmp_path):
    arguments = {"config": other.method("advent", aux=0.1)}
    if name_of(other) != "daformer":
        other.run("adapt", tmp_path / "advent", **arguments)
        assert (tmp_path / "advent" / "model.pt").is_file()
    else:
        with pytest.raises(ConfigError, match=r"methods\.advent: the network daformer has no auxiliary head"):
            other.run("adapt", tmp_path / "advent", **arguments)


def test_the_last_model_is_evaluated_drawn_exported_and_predicts(other, tmp_path):
    model, prepared = other.path("distill", "model.pt"), other.folder / "prepare"
    sets = {"night_val": prepared / "night_val.csv", "day_val": prepared / "day_val.csv"}
    evaluate.run(
        config=other.section("evaluate"),
        model=[model],
        **sets,
        classes=prepared / "classes.json",
        scores=tmp_path / "distill.json",
        log=tmp_path / "log",
        seed=0,
        experiment="smoke",
        device="cpu",
    )
    assert set(json.loads((tmp_path / "distill.json").read_text())["domains"]) == {"night", "day"}
    export.run(model=model, exported=tmp_path / "net.safetensors")
    images = sorted((prepared.resolve().parent / "town" / "DarkZurich").rglob("*.png"))[:1]
    predict.run(model=model, images=[str(images[0])], out=tmp_path / "out", device="cpu")
    labels = [read_label(path) for path in (tmp_path / "out" / "labels").rglob("*.png")]
    assert [label.shape for label in labels] == [(32, 64)]
    assert np.concatenate(labels).max() < 19


def test_the_warm_ups_pictures_are_drawn(other, tmp_path):
    run = importlib.import_module("loopda.stages.illustrate").run
    run(
        config=other.section("illustrate"),
        warmed_up=other.path("warmup", "model.pt"),
        loops=other.path("warmup", "loops.pt"),
        labels=other.path("pseudo_labels", "labels.csv"),
        statistics=other.path("pseudo_labels", "statistics.json"),
        **{name: other.folder / "prepare" / f"{name}.csv" for name in ("source", "night")},
        classes=other.folder / "prepare" / "classes.json",
        illustrations=tmp_path / "illustrations.json",
        seed=0,
        log=tmp_path / "log",
        device="cpu",
        threads=1,
    )
    assert (tmp_path / "illustrations.json").is_file()


def test_a_network_leaves_as_one_graph(other, tmp_path):
    pytest.importorskip("onnxruntime")
    if name_of(other) == "deeplab":
        pytest.skip("tests/exchange/test_onnx.py has the others")
    export.run(model=other.path("pretrain", "model.pt"), exported=tmp_path / "net.onnx", width=64, height=32)
    assert (tmp_path / "net.onnx").is_file()
