"""The results of an experiment stay its own, whatever the order of the experiments in config.yaml."""

import copy
from pathlib import Path
from typing import Any

import pytest

from loopda.pipeline.claims import BEGUN, FINISHED, claims
from loopda.pipeline.experiments import CLAIMS, owner, owner_of_set
from loopda.pipeline.jobs import Job, Jobs
from loopda.pipeline.merging import in_order


@pytest.fixture
def config(base_config) -> dict[str, Any]:
    """`second` is written above `first`, and differs from it in the evaluation alone."""
    config = copy.deepcopy(base_config)
    first = {"warmup": {"steps": 7}}
    return config | {"experiments": {"second": first | {"evaluate": {"batch_size": 4}}, "first": first}}


def leave(root: Path, config: dict[str, Any], job: Job, *files: str) -> None:
    """Leave `files` of a job, and the section that they were made with."""
    section = root / job.config
    section.parent.mkdir(parents=True, exist_ok=True)
    section.write_text(Jobs(config).section_text(job), encoding="utf-8")
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def owned(config: dict[str, Any], root: Path, stage: str) -> str:
    return owner(config | {CLAIMS: claims(config, root)}, "first", stage)


def test_nothing_is_there_and_the_first_in_the_file_owns_what_is_shared(config, tmp_path):
    assert claims(config, tmp_path) == {}
    assert owned(config, tmp_path, "warmup") == "second"


@pytest.mark.fault(95, "an experiment written above another takes over none of its trained stages")
def test_an_experiment_above_does_not_take_over_what_one_below_has_trained(config, tmp_path):
    job = Job("warmup", "first", 0)
    leave(tmp_path, config, job, *job.files)
    assert claims(config, tmp_path)["warmup"] == {"first": FINISHED}
    assert owned(config, tmp_path, "warmup") == "first"
    assert owned(config, tmp_path, "pretrain") == "second"


@pytest.mark.fault(95, "nor what it has begun to train")
def test_a_training_that_has_begun_stays_whose_it_is(config, tmp_path):
    job = Job("warmup", "first", 3)
    leave(tmp_path, config, job, f"{job.folder}/state/step-0000002/state.pt")
    assert claims(config, tmp_path)["warmup"] == {"first": BEGUN}
    assert owned(config, tmp_path, "warmup") == "first"


def test_what_was_made_with_other_settings_claims_nothing(config, tmp_path):
    job = Job("warmup", "first", 0)
    leave(tmp_path, config, job, *job.files)
    (tmp_path / job.config).write_text("steps: 8\n")
    assert owned(config, tmp_path, "warmup") == "second"


def test_a_manifest_and_an_evaluation_stay_whose_they_are(config, tmp_path):
    manifest, scores = Job("manifest", "first", data_set="night"), Job("evaluate", "second", 0, "warmup")
    for job in (manifest, scores):
        leave(tmp_path, config, job, *job.files)
    config["experiments"] = dict(reversed(config["experiments"].items()))
    found = config | {CLAIMS: claims(config, tmp_path)}
    assert owner_of_set(found, "second", "night") == "first"
    assert owner_of_set(found, "second", "source") == "first"
    assert owner(found, "second", "evaluate", "warmup") == "second"


def test_the_order_of_keys_in_an_overlay_changes_no_section(config):
    shuffled = {key: config[key] for key in reversed(config)}
    shuffled["warmup"] = dict(reversed(shuffled["warmup"].items()))
    found = in_order(shuffled, config)
    assert list(found) == list(config)
    assert list(found["warmup"]) == list(config["warmup"])
    assert found == config
