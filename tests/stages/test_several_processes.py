"""Two processes do what one does: the same losses, weights, thresholds and label maps, interrupted or not."""

import json
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import miniature as miniatures
import pytest
from several_processes import (
    Task,
    alone,
    exit_code,
    in_processes,
    largest_difference,
    record_losses,
    recorded_losses,
    run_each,
)

from loopda.data.batches import night_batch
from loopda.data.dataset import open_frames
from loopda.data.manifest import read_manifest, write_manifest
from loopda.errors import ConfigError, DataError
from loopda.models.checkpoint import load_checkpoint
from loopda.runtime import distributed

METHODS = {
    "source_only": {},
    "adaptsegnet": {"aux": 0.1, "adversarial_aux": 1e-3},
    "advent": {"entropy": 1e-3, "entropy_aux": 1e-3, "class_ratio": 0.5},
    "dann": {},
    "road": {},
    "cycada": {"discriminator_dropout": 0.5},
    "daformer": {},
}
TRAININGS = [
    "pretrain",
    "mit",
    "efficientnet",
    "warmup",
    "self_train",
    "drive",
    "simclr",
    "distill",
    "translate",
    *METHODS,
]
RESULTS = {"warmup": ("model.pt", "loops.pt"), "translate": ("generators.pt",)}  # the others: model.pt alone


def steps(task: str) -> int:
    """Two, so that an update shows in the losses; the first of the warm-up teaches the decoders alone."""
    return 3 if task == "warmup" else 2


def tasks(mini: miniatures.Miniature, folder: Path) -> list[Task]:
    """Every stage, every method, a network that drops paths, and a drive with few references."""

    def training(stage: str, name: str = "", **changes: Any) -> Task:
        config = mini.section(stage, steps=steps(stage)).model_copy(update=changes)
        return Task(name or stage, stage, {"config": config, **mini.inputs(stage)})

    def adaptation(name: str) -> Task:
        task = training("adapt", name, method=mini.method(name, **METHODS[name]).method)
        translated = {"translated": mini.path("translate", "source.csv")} if name == "cycada" else {}
        return task._replace(changes={**task.changes, **translated})

    stages = ("warmup", "self_train", "simclr", "distill", "translate")
    found = [training(stage) for stage in stages] + [adaptation(name) for name in METHODS]
    network = mini.section("pretrain").network
    dropping = network.model_copy(update={"name": "daformer", "encoder": "mit_tiny", "drop_path": 0.5})
    found += [training("pretrain", aux=0.1), training("pretrain", "mit", network=dropping)]
    depthwise = network.model_copy(update={"encoder": "efficientnet_lite0"})
    found.append(training("pretrain", "efficientnet", network=depthwise))
    drive = training("self_train", "drive")
    found.append(drive._replace(changes={**drive.changes, "night": few_references(drive.changes["night"], folder)}))
    evaluated = {**mini.inputs("evaluate"), "model": [mini.path("warmup", "model.pt")]}
    return [
        *found,
        Task("pseudo_labels", "pseudo_labels", {"config": mini.section("pseudo_labels", batch_size=3)}),
        Task(
            "evaluate", "evaluate", {"config": mini.section("evaluate", full_size=["night"], batch_size=1), **evaluated}
        ),
    ]


def few_references(night: Path, folder: Path) -> Path:
    """A manifest in which two of three night images have lost their reference."""
    rows = enumerate(read_manifest(night))
    write_manifest(folder / "night.csv", [row if at % 3 == 0 else replace(row, reference=None) for at, row in rows])
    return folder / "night.csv"


def work(folder: Path, mini: miniatures.Miniature, found: list[Task], flags: dict[str, list[str]]) -> None:
    """All that two processes do for this module; the last of it ends them."""
    run_each(folder, mini, found)
    interrupted(folder, flags["parts"], flags["whole"])
    damaged(folder, flags["damaged"])


def interrupted(folder: Path, parts: Sequence[str], whole: Sequence[str]) -> None:
    """Two processes until the second gets a signal in step 2, one until it gets one in step 4, two to the end."""

    def terminate_at(rank: str, step: int) -> Callable[[int], None]:
        return lambda now: os.kill(os.getpid(), signal.SIGTERM) if (os.environ["RANK"], now) == (rank, step) else None

    losses, codes = folder / f"losses.{os.environ['RANK']}.jsonl", []
    record_losses(losses, terminate_at("1", 2))
    codes.append(exit_code("warmup", parts))
    record_losses(losses, terminate_at("0", 4))
    with alone() as first:
        if first:
            codes.append(exit_code("warmup", parts))
    record_losses(losses)
    codes.append(exit_code("warmup", parts))
    record_losses(folder / "whole.jsonl")
    with alone() as first:
        if first:
            codes.append(exit_code("warmup", whole))
    (folder / f"codes.{os.environ['RANK']}.json").write_text(json.dumps(codes))


def damaged(folder: Path, flags: Sequence[str]) -> None:
    """The second process finds a damaged file in step 2."""

    def find(step: int) -> None:
        if os.environ["RANK"] == "1" and step == 2:
            raise DataError("night.png: is damaged")

    record_losses(folder / "damaged.jsonl", find)
    os._exit(exit_code("pretrain", flags))


@pytest.fixture(scope="module")
def both(miniature, tmp_path_factory) -> Path:
    """A folder with the outputs of every task in one process and in two, one/<task> and two/<task>."""
    folder = tmp_path_factory.mktemp("processes")
    stages = {"parts": "warmup", "whole": "warmup", "damaged": "pretrain"}
    flags = {name: miniature.flags(stage, folder / name / stage) for name, stage in stages.items()}
    assert in_processes(2, work, folder, miniature, tasks(miniature, folder), flags) == [4, 3]
    return folder


@pytest.mark.parametrize("task", TRAININGS)
def test_every_process_has_the_losses_of_the_whole_batch_in_every_step(both, task):
    single = recorded_losses(both / "one" / f"{task}.0.jsonl")
    first, second = (recorded_losses(both / "two" / f"{task}.{rank}.jsonl") for rank in (0, 1))
    assert [losses["step"] for losses in single] == list(range(1, steps(task) + 1))
    assert first == second
    for expected, found in zip(single, first, strict=True):
        assert found == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("task", TRAININGS)
def test_weights_and_statistics_are_those_of_one_process(both, task):
    for name in RESULTS.get(task, ("model.pt",)):
        assert largest_difference(*(load_checkpoint(both / folder / task / name) for folder in ("one", "two"))) < 1e-7


def test_on_a_drive_with_few_references_one_process_may_have_none_where_the_other_has_some(both, miniature):
    """What makes its losses worth a comparison."""
    frames = open_frames(both / "night.csv", miniature.path("prepare", "classes.json"), (64, 32))
    batches = [night_batch(frames, step, batch_size=2, crop=(48, 32), seed=0) for step in range(1, steps("drive") + 1)]
    assert [int(batch.paired.sum()) for batch in batches].count(1) > 0


def test_thresholds_and_label_maps_are_those_of_one_process(both):
    one, two = both / "one" / "pseudo_labels", both / "two" / "pseudo_labels"
    assert (one / "statistics.json").read_bytes() == (two / "statistics.json").read_bytes()
    assert (one / "labels.csv").read_text().replace(str(one), str(two)) == (two / "labels.csv").read_text()
    assert same_images(one, two) == 8 + 8


def test_scores_and_predictions_are_those_of_one_process(both):
    one, two = both / "one" / "evaluate", both / "two" / "evaluate"
    assert (one / "warmup.json").read_text().replace(str(one), str(two)) == (two / "warmup.json").read_text()
    assert same_images(one, two) == 2 * (4 + 4 + 4 + 3 + 3)


def test_translations_are_those_of_one_process(both):
    assert same_images(both / "one" / "translate" / "images", both / "two" / "translate" / "images") == 8


def same_images(one: Path, two: Path) -> int:
    """How many images both folders have; all are the same."""
    images = sorted(path.relative_to(one) for path in one.rglob("*.png"))
    assert images == sorted(path.relative_to(two) for path in two.rglob("*.png"))
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in images)
    return len(images)


@pytest.mark.fault(2, "of two processes one gets it: both stop after the same step, and any number goes on from there")
def test_a_signal_to_one_process_stops_both_and_any_number_goes_on_from_there(both):
    codes = [json.loads((both / f"codes.{rank}.json").read_text()) for rank in (0, 1)]
    assert codes == [[75, 75, 0, 0], [75, 0]]
    log = (both / "parts" / "warmup.log").read_text()
    assert all(f"stopped by signal 15 after step {step}, which is saved" in log for step in (2, 4))
    whole, first, second = (recorded_losses(both / f"{name}.jsonl") for name in ("whole", "losses.0", "losses.1"))
    assert [losses["step"] for losses in second] == [1, 2, 5, 6]
    assert [losses["step"] for losses in first] == [losses["step"] for losses in whole] == [1, 2, 3, 4, 5, 6]
    for expected, found in zip(whole, first, strict=True):
        assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.fault(23, "of two processes one finds it: the other ends too, and the log holds the cause")
def test_when_one_process_fails_the_other_ends_and_the_log_names_the_cause(both):
    log = (both / "damaged" / "pretrain.log").read_text()
    assert "process 1: DataError: night.png: is damaged" in log
    assert "DeviceError: another process of this stage has ended" in log


def test_a_batch_that_the_processes_cannot_share_equally_is_refused_by_its_key(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    distributed.check_share("warmup.batch_size", 6)
    with pytest.raises(ConfigError, match=r"warmup\.batch_size: 3 processes cannot share a batch of 2 equally"):
        distributed.check_share("warmup.batch_size", 2)
