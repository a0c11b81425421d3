import json

import numpy as np
import pytest

from loopda.errors import DataError
from loopda.pipeline.stages import stage_order
from loopda.report.illustrations import read_illustrations
from loopda.report.inputs import Origin, find, origin, read_metrics


@pytest.fixture
def metrics(tmp_path):
    """A function that writes lines to a metrics.jsonl in its place and reads it."""

    def read(*lines):
        path = tmp_path / "results/warmup/loopda/seed3/metrics.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
        return read_metrics(path)

    return read


def test_a_result_is_known_by_its_place(tmp_path):
    path = tmp_path / "results/self_train/tau-0.25/seed12/metrics.jsonl"
    assert origin(path) == Origin("self_train", "tau-0.25", 12)
    assert origin("results/prepare/loopda/config.yaml") == Origin("prepare", "loopda", None)


@pytest.mark.parametrize("place", ["config.yaml", "loopda/config.yaml", "loopda/seed1/config.yaml"])
def test_a_result_whose_place_does_not_tell_its_stage_is_refused(place):
    with pytest.raises(DataError, match=r"expected <stage>/<experiment>/seed<k>/config\.yaml"):
        origin(place)


def test_metrics_outside_of_a_folder_of_their_seed_are_refused():
    with pytest.raises(DataError, match="seed<k>"):
        read_metrics("results/warmup/loopda/metrics.jsonl")


def test_of_steps_that_a_resumed_run_repeats_the_last_record_counts(metrics):
    read = metrics({"step": 1, "loss": 5.0}, {"step": 2, "loss": 4.0}, {"step": 1, "loss": 3.0})
    steps, values = read.curves["loss"]
    assert steps.tolist() == [1, 2]
    assert values.tolist() == [3.0, 4.0]


def test_time_and_speed_are_facts_of_a_run_and_not_curves(metrics):
    read = metrics(
        {"step": 1, "seconds": 2.0, "images_per_second": 10.0, "loss": 1},
        {"step": 2, "seconds": 4.0, "images_per_second": 30.0, "loss": 1},
        {"step": 3, "seconds": 6.5, "images_per_second": 12.0, "loss": 1},
    )
    assert list(read.curves) == ["loss"]
    assert (read.speed, read.seconds, read.origin.seed) == (12.0, 6.5, 3)


def test_what_is_no_finite_number_leaves_a_gap_in_its_curve(metrics):
    read = metrics(
        '{"step": 1, "loss": NaN, "other": 1}',
        {"step": 2, "loss": 2},
        {"step": 3, "loss": None},
        {"step": 4, "text": "x"},
    )
    assert read.curves["loss"][0].tolist() == [2]
    assert read.curves["other"][0].tolist() == [1]
    assert "text" not in read.curves


def test_an_empty_record_of_a_run_has_no_curves(metrics):
    read = metrics()
    assert (read.curves, read.speed, read.seconds) == ({}, None, None)


@pytest.mark.parametrize("line", ['{"step": 1, "lo', '{"loss": 1}', "[]", "3"])
def test_a_damaged_line_is_named(metrics, line):
    with pytest.raises(DataError, match=r"metrics\.jsonl: line 2"):
        metrics({"step": 1}, line)


def test_a_relative_picture_counts_from_the_working_directory_before_the_folder_of_its_file(tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        (folder / "both.png").touch()
    (there / "beside.png").touch()
    monkeypatch.chdir(here)
    assert find("both.png", there / "file.json").resolve() == here / "both.png"
    assert find("beside.png", there / "file.json").resolve() == there / "beside.png"
    assert find(str(there / "both.png"), here / "file.json") == there / "both.png"
    with pytest.raises(DataError, match=r"none\.png"):
        find("none.png", there / "file.json")


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"seed": 0, "panels": [{"title": "T", "columns": ["a", "b"], "rows": [["x.png"]]}]}, "panel 'T'"),
        ({"seed": 0, "lor": [{"night": "n", "lor": 1.5, "chosen": "static"}]}, r"lor\.0\.lor"),
        (
            {"seed": 0, "thresholds": {"car": {"threshold": 0.5, "predicted": 3, "kept": 4}}},
            "4 pixels kept of 3",
        ),
        ({}, "seed"),
    ],
)
def test_illustrations_that_contradict_themselves_are_refused_by_name(tmp_path, values, fault):
    path = tmp_path / "illustrations.json"
    path.write_text(json.dumps(values))
    with pytest.raises(DataError, match=fault) as caught:
        read_illustrations(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named_with_the_remedy(tmp_path):
    with pytest.raises(DataError, match=r"illustrations\.json: no such file; run"):
        read_illustrations(tmp_path / "illustrations.json")


def test_stages_stand_in_the_order_of_the_pipeline_and_unknown_ones_last():
    stages = ["zebra", "distill", "adapt", "self_train", "pretrain", "warmup"]
    assert sorted(stages, key=stage_order) == [
        "pretrain",
        "warmup",
        "self_train",
        "distill",
        "adapt",
        "zebra",
    ]


def test_steps_and_values_of_a_curve_are_arrays_of_equal_length(metrics):
    read = metrics(*({"step": step, "loss": 1 / step} for step in range(1, 8)))
    steps, values = read.curves["loss"]
    np.testing.assert_allclose(values, 1 / steps)
