"""The trials of a search: experiments of their own, as many for each, which no test image is scored for."""

import copy
import json

import pytest
import yaml

from loopda.errors import ConfigError
from loopda.pipeline import experiments, search
from loopda.pipeline.checking import check
from loopda.pipeline.checking.search import faults_of_search
from loopda.pipeline.configuration import checked
from loopda.pipeline.jobs import Job, Jobs
from loopda.pipeline.schema import read_schemas


@pytest.fixture
def config(root):
    return yaml.safe_load((root / "config.yaml").read_text())


def searching(config, **grids):
    """`config` with the grids `grids` alone, of two trials each."""
    changed = copy.deepcopy(config)
    changed["search"] |= {"trials": 2, "grids": grids}
    return changed


def test_the_grids_of_the_configuration_are_trials_of_different_trainings_as_many_for_each(config):
    config = checked(config, config, [])
    searched = search.table(config)["searched"]
    assert {one["experiment"] for one in searched} >= {"longer", "adaptsegnet", "road", "daformer", "loopda"}
    assert {len(one["trials"]) for one in searched} == {config["search"]["trials"]}
    assert {one["experiment"]: one["stage"] for one in searched}["loopda"] == "self_train"


def test_a_trial_is_its_experiment_with_a_point_of_the_grid_and_several_settings_are_all_combinations(config):
    grid = {"methods.road.distillation": [1.0, 2.0], "adapt.optimizer.lr": [0.1, 0.2]}
    config["search"]["grids"] = {"road": grid}
    made = search.with_trials(config)
    assert list(made["experiments"])[-4:] == [f"road-trial{number}" for number in (1, 2, 3, 4)]
    found = []
    for number in (1, 2, 3, 4):
        section = experiments.section(made, f"road-trial{number}", "adapt")
        assert section["optimizer"] == config["adapt"]["optimizer"] | {"lr": section["optimizer"]["lr"]}
        assert section["method"]["name"] == "road"
        found.append((section["method"]["distillation"], section["optimizer"]["lr"]))
    assert found == [(1.0, 0.1), (1.0, 0.2), (2.0, 0.1), (2.0, 0.2)]


def test_trials_end_with_the_stage_that_the_grid_names_and_share_what_comes_before_their_settings(config):
    config = search.with_trials(searching(config, loopda={"until": "self_train", "self_train.steps": [5, 6]}))
    assert experiments.model_stages(config, "loopda-trial1")[-1] == "self_train"
    for stage in ("pretrain", "warmup", "pseudo_labels"):
        assert experiments.owner(config, "loopda-trial2", stage) == "loopda"
    assert experiments.owner(config, "loopda-trial2", "self_train") == "loopda-trial2"


@pytest.mark.parametrize("own", [{}, {"night_tests": {"rain": {"layout": "table", "csv": "rain.csv"}}}])
def test_trials_are_scored_on_validation_alone(config, own):
    config["experiments"]["advent"]["data"] = {"source": {"layout": "table", "csv": "s.csv"}, **own} if own else {}
    config["experiments"]["advent"]["evaluate"] = {"full_size": ["rain"] if own else ["night-test"]}
    known = experiments.sets(config, "advent")
    assert {"night_test", "night_tests/rain"} & known.keys()
    config = search.with_trials(searching(config, advent={"adapt.steps": [5, 450]}))
    for name in ("advent-trial1", "advent-trial2"):
        assert not any("test" in one for one in experiments.sets(config, name))
        assert experiments.section(config, name, "evaluate")["full_size"] == []
    # the second has the settings of the experiment: its training is shared, its scores are not
    assert experiments.owner(config, "advent-trial2", "adapt") == "advent"
    scored = Jobs(config).needs(Job("search"))
    assert [job.experiment for job in scored] == ["advent-trial1", "advent-trial2"]
    manifests = [job.data_set for score in scored for job in Jobs(config).needs(score) if job.stage == "manifest"]
    assert {*manifests} <= {"night_val", "day_val"}


def test_null_takes_a_grid_out_and_a_setting_out_of_a_grid(config):
    config = searching(config, dann=None, advent={"adapt.steps": None, "adapt.batch_size": [2, 4]})
    assert faults_of_search(config) == []
    assert [trial.name for trial, *_ in search.models(search.with_trials(config))] == ["advent-trial1", "advent-trial2"]


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        ({"adapt.steps": [5, 6, 7]}, "search.grids.advent: 3 values are not the 2 trials that every experiment has"),
        ({"adapt.steps": [5, 6], "adapt.batch_size": [1, 2]}, "2 x 2 values are not the 2 trials"),
        ({}, "no values are not the 2 trials"),
        ({"adapt.steps": 5}, "search.grids.advent.adapt.steps: expected a list of values, found 5"),
        ({"adopt.steps": [5, 6]}, "'adopt.steps' is no setting"),
        ({"adapt": [5, 6]}, "'adapt' is no setting"),
        ({"town.seed": [5, 6]}, "town.seed: trials have the same images"),
        ({"data.classes": [5, 6]}, "data.classes: trials have the same images"),
        ({"until": "adopt", "adapt.steps": [5, 6]}, "search.grids.advent.until: 'adopt' is not one of pretrain"),
        ([5, 6], "search.grids.advent: expected settings"),
    ],
)
def test_a_wrong_grid_is_refused(config, grid, says):
    [fault] = faults_of_search(searching(config, advent=grid))
    assert says in fault


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"trials": 0}, "search.trials: expected a whole number >= 1"),
        ({"score": "night-test"}, "search.score: 'night-test' is not one of night, day"),
        ({"seeds": []}, "search.seeds: expected a list of different whole numbers"),
        ({"grids": {"advant": {"adapt.steps": [1, 2]}}}, "search.grids: no experiment 'advant'"),
        ({"grids": {"advent-ensemble": {"adapt.steps": [1, 2]}}}, "an ensemble trains nothing"),
        ({"grid": {}}, "search: expected the keys grids, score, seeds, trials"),
    ],
)
def test_a_wrong_section_is_refused(config, change, says):
    config["search"] |= change
    with pytest.raises(ConfigError) as caught:
        check(config, read_schemas())
    assert says in str(caught.value)


def test_a_setting_that_no_section_has_is_refused_with_the_names_of_the_trials(config):
    with pytest.raises(ConfigError, match=r"adapt: .*'stepz'.*advent-trial1, advent-trial2"):
        check(searching(config, advent={"adapt.stepz": [5, 6]}), read_schemas())


def test_the_name_of_a_trial_is_taken(config):
    config = searching(config, advent={"adapt.steps": [5, 6]})
    config["experiments"]["advent-trial2"] = {}
    [fault] = faults_of_search(config)
    assert fault == "experiments.advent-trial2: a trial of `search` has this name; rename"


@pytest.mark.parametrize("grid", [{"methods.dann.weight": [1.0, 2.0]}, {"adapt.steps": [5, 5]}])
def test_trials_that_are_one_training_are_refused_when_the_search_is_asked_for(config, grid):
    config = search.with_trials(searching(config, advent=grid))
    with pytest.raises(ConfigError, match=r"search\.grids\.advent: .* are one training"):
        search.table(config)


def test_without_a_validation_set_the_search_alone_is_refused(config):
    config = searching(config, advent={"adapt.steps": [5, 6]})
    config["data"]["night_val"] = None
    check(config, read_schemas())
    with pytest.raises(ConfigError, match=r"search\.score: advent has no set data\.night_val; name one, or leave"):
        search.table(search.with_trials(config))


def test_the_trials_take_no_results_from_the_experiments_before_them(config):
    """Without results on disk, the owner of a training is the experiment, and never its trial."""
    before = {name: experiments.owner(config, name, "adapt") for name in ("advent", "road", "longer")}
    made = search.with_trials(config)
    assert {name: experiments.owner(made, name, "adapt") for name in before} == before
    assert json.dumps(made["experiments"]["advent"]) == json.dumps(config["experiments"]["advent"])
