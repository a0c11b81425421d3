"""Data of one's own beside the built-in town: never mixed; and sets that are left out are not there."""

import copy
from pathlib import Path
from typing import Any

import pytest

from loopda.pipeline import experiments
from loopda.pipeline.checking.data import faults_of_data, faults_of_sets
from loopda.pipeline.experiments import owner, owner_of_set, reads, sets

LAYOUTS = {
    "source": {"layout": "table", "csv": "data/source.csv"},
    "night": {"layout": "folder", "root": "data", "images": "night/*.png"},
    "day_val": {"layout": "table", "csv": "data/day_val.csv"},
    "night_val": {"layout": "table", "csv": "data/night_val.csv"},
}


@pytest.fixture
def config(base_config) -> dict[str, Any]:
    return copy.deepcopy(base_config)


def mine(config: dict[str, Any], *names: str, **more: Any) -> dict[str, Any]:
    """`config` with an experiment `mine`, in `run`, of one's own sets `names`."""
    config["experiments"]["mine"] = {"data": {name: LAYOUTS[name] for name in names} | more}
    return config | {"run": ["mine"]}


@pytest.mark.fault(93, "a set that is left out beside one's own is not there: not the town's")
@pytest.mark.parametrize("left_out", ["day_val", "night_val"])
def test_a_set_that_is_left_out_beside_sets_of_ones_own_is_not_the_towns(config, left_out):
    config = mine(config, *(name for name in LAYOUTS if name != left_out))
    assert set(sets(config, "mine")) == LAYOUTS.keys() - {left_out}
    assert left_out not in reads(config, "mine", "evaluate")
    assert faults_of_data(config, "mine") == []


@pytest.mark.fault(93, "also where the configuration itself names sets of one's own")
def test_the_section_data_itself_leaves_out_what_is_the_towns(config):
    for name in ("source", "night", "day_val"):
        config["data"][name] = LAYOUTS[name]
    assert set(sets(config, "loopda")) == {"source", "night", "day_val"}


@pytest.mark.fault(93, "the town beside one's own by name is refused")
def test_a_set_of_the_town_that_is_named_beside_ones_own_is_refused(config):
    town = dict(config["data"]["night_val"])
    config = mine(config, "source", "night", "day_val", night_val=town)
    (fault,) = faults_of_data(config, "mine")
    assert fault.startswith("data.night_val: of the built-in town, but data.source, data.night, data.day_val: not")


@pytest.mark.parametrize("needed", ["source", "night"])
def test_what_every_training_reads_is_required(config, needed):
    config = mine(config, *(name for name in LAYOUTS if name != needed))
    (fault,) = faults_of_data(config, "mine")
    assert fault.startswith(f"data.{needed}: there is no such set beside data.")
    assert "the built-in town's is not mixed with data of your own; name " in fault


def test_the_towns_own_tables_are_no_data_of_ones_own(config):
    assert set(sets(config, "oracle")) == {*LAYOUTS, "day_test", "night_test"}
    assert faults_of_data(config, "oracle") == []


def test_test_sets_of_a_town_without_test_images_are_refused_and_null_leaves_them_out(config):
    config["town"] = config["town"] | {"night_test": 0}
    (fault,) = faults_of_data(config, "loopda")
    assert fault.startswith("data.night_test: the built-in town is to have no such images (town.night_test: 0)")
    config["data"]["night_test"] = None
    assert faults_of_data(config, "loopda") == []
    assert "night_test" not in sets(config, "loopda")
    assert reads(config, "loopda", "evaluate") == ["day_val", "night_val", "day_test"]


@pytest.mark.fault(94, "another set to measure on leaves every training, and what it reads, where it is")
@pytest.mark.parametrize(
    "change",
    [
        {"night_tests": {"rain": LAYOUTS["night_val"]}},
        {"night_val": LAYOUTS["night_val"]},
        {"day_val": LAYOUTS["source"]},
        {"day": {"layout": "table", "csv": "data/day.csv"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_set_that_no_training_reads_changes_no_training(config, change):
    config = mine(config, "source", "night", "day_val")
    config["experiments"]["more"] = {"extends": "mine", "data": change}
    for stage in experiments.training_stages(config, "more"):
        assert owner(config, "more", stage) == "mine"
    assert {owner_of_set(config, "more", name) for name in ("source", "night")} == {"mine"}
    evaluated_anew = next(iter(change)) != "day"
    assert owner(config, "more", "evaluate", "distill") == ("more" if evaluated_anew else "mine")
    assert (owner(config, "more", "pair") == "more") == (next(iter(change)) == "day")


def test_a_set_that_trainings_read_changes_them_all(config):
    config = mine(config, "source", "night", "day_val")
    other = {"layout": "folder", "root": "data", "images": "other/*.png"}
    config["experiments"]["other"] = {"extends": "mine", "data": {"night": other}}
    assert {owner(config, "other", stage) for stage in experiments.training_stages(config, "other")} == {"other"}
    assert owner_of_set(config, "other", "source") == "mine"
    assert owner_of_set(config, "other", "night") == "other"


def test_pair_reads_the_day_images_that_there_are(config):
    config = mine(config, *LAYOUTS)
    assert reads(config, "mine", "pair") == ["night", "source"]
    config["experiments"]["more"] = {"extends": "mine", "data": {"day": LAYOUTS["source"]}}
    assert reads(config, "more", "pair") == ["night", "day"]


def test_a_set_to_score_at_full_size_must_be_there(config):
    config = mine(config, "source", "night", "day_val")
    config["experiments"]["mine"]["evaluate"] = {"full_size": ["night"]}
    (fault,) = faults_of_sets(config, "mine")
    assert fault.startswith("evaluate.full_size: no set 'night' to measure on; the sets are day")


@pytest.mark.fault(93, "the town's folder by whatever path is the town's")
@pytest.mark.parametrize("before", ["", "./", "./results/../", "{here}/"])
def test_the_town_is_known_by_any_path_of_its_folder(before):
    root = before.format(here=Path.cwd()) + "results/town//Cityscapes"
    assert experiments.uses_town({"layout": "cityscapes", "root": root, "split": "val"})
    assert not experiments.uses_town({"layout": "folder", "root": "results/townhall", "images": "*.png"})
