"""Which models stand in a table, what was trained for each, and in which settings it differs from the others."""

import pytest
import yaml

from loopda.pipeline import experiments
from loopda.pipeline.comparisons import Model, models, table, trained


@pytest.fixture
def config(root):
    """config.yaml as it is."""
    return yaml.safe_load((root / "config.yaml").read_text())


def row(config, experiment, stage, comparison="compare"):
    [found] = [
        one for one in table(config, comparison)["rows"] if (one["experiment"], one["stage"]) == (experiment, stage)
    ]
    return found


@pytest.mark.parametrize("comparison", experiments.COMPARISONS)
def test_source_only_stands_first_and_no_model_twice(config, comparison):
    found = models(config, comparison)
    assert found[0] == Model("loopda", "pretrain")
    assert len(found) == len(set(found))


def test_source_only_stands_first_even_where_an_ensemble_is_listed_first(config):
    config["compare"] = ["advent-ensemble", "longer"]
    assert models(config, "compare") == [("loopda", "pretrain"), ("advent-ensemble", "ensemble"), ("longer", "adapt")]


def test_the_list_says_which_methods_and_in_which_order_and_the_oracle_ends_it(config):
    config["compare"] = ["longer", "advent-ensemble", "loopda", "oracle"]
    assert models(config, "compare") == [
        ("loopda", "pretrain"),
        ("longer", "adapt"),
        ("advent-ensemble", "ensemble"),
        ("loopda", "warmup"),
        ("loopda", "self_train"),
        ("loopda", "distill"),
        ("oracle", "pretrain"),
    ]


def test_the_ablation_has_the_rows_of_table_3_in_their_order(config):
    assert models(config, "ablation")[1:] == [
        ("no-loops", "warmup"),
        ("no-outer-loop", "warmup"),
        ("no-inner-loop", "warmup"),
        ("no-rendering", "warmup"),
        ("loopda", "warmup"),
        ("no-dna", "self_train"),
        ("loopda", "self_train"),
        ("loopda", "distill"),
    ]


def test_rows_of_table_3_up_to_the_warm_up_differ_in_their_losses_and_not_in_their_budget(config):
    rows = [one for one in table(config, "ablation")["rows"] if one["stage"] == "warmup"]
    assert [one["experiment"] for one in rows] == [
        "no-loops",
        "no-outer-loop",
        "no-inner-loop",
        "no-rendering",
        "loopda",
    ]
    assert {step["steps"] for one in rows for step in one["trained"]} == {config["warmup"]["steps"]}
    own = {one["experiment"]: one["own"] for one in rows}
    assert own["no-loops"] == {"loops.inner_loop": False, "loops.outer_loop": False}
    assert own["loopda"] == {}


def differences(config, one, other):
    """Paths of the settings in which two experiments differ, up to the stage `adapt`."""
    found = set()
    for stage in ("pretrain", "translate", "adapt"):
        sections = [experiments.section(config, name, stage) for name in (one, other)]
        found |= {f"{stage}.{path}" for path in _differing(*sections)}
    return found


def _differing(one, other, path=""):
    if isinstance(one, dict) and isinstance(other, dict):
        keys = one.keys() | other.keys()
        return {
            found for key in keys for found in _differing(one.get(key), other.get(key), f"{path}.{key}".lstrip("."))
        }
    return set() if one == other else {path}


@pytest.mark.parametrize(
    ("one", "other", "path"),
    [
        ("cycada-pixel", "cycada-pixel-no-cycle", "translate.weights.cycle"),
        ("cycada-pixel-no-semantic", "cycada-pixel-no-semantic-no-cycle", "translate.weights.cycle"),
        ("cycada-pixel", "cycada-pixel-no-semantic", "translate.weights.semantic"),
        ("cycada", "cycada-no-semantic", "translate.weights.semantic"),
        ("cycada", "cycada-pixel", "adapt.method.supervised"),
        ("cycada-no-semantic", "cycada-pixel-no-semantic", "adapt.method.supervised"),
    ],
)
def test_ablations_of_cycada_differ_in_one_thing(config, one, other, path):
    assert differences(config, one, other) == {path}


def test_the_sweep_of_tau_needs_no_distillation_and_knows_each_value(config):
    rows = table(config, "tau")["rows"]
    assert "distill" not in {one["stage"] for one in rows}
    assert [one["tau"] for one in rows if one["stage"] == "self_train"] == [0.0, 0.05, 0.25, 0.5, 0.75, 1.0]


def test_what_was_trained_for_a_model_begins_after_the_source_only_model(config):
    assert trained(config, Model("loopda", "pretrain")) == [("loopda", "pretrain")]
    assert trained(config, Model("oracle", "pretrain")) == [("oracle", "pretrain")]
    assert trained(config, Model("tau-1", "self_train")) == [("loopda", "warmup"), ("tau-1", "self_train")]
    assert trained(config, Model("advent-ensemble", "ensemble")) == [("minent", "adapt"), ("advent", "adapt")]
    stages = [one.stage for one in trained(config, Model("loopda", "distill"))]
    assert stages == ["warmup", "self_train", "simclr", "distill"]


def test_the_oracle_has_as_many_steps_as_the_source_only_model_and_a_method_together(config):
    [step] = row(config, "oracle", "pretrain")["trained"]
    assert step["steps"] == config["pretrain"]["steps"] + config["adapt"]["steps"]


def test_a_method_as_config_yaml_has_it_has_no_settings_of_its_own(config):
    as_it_is = [
        name
        for name, overlay in config["experiments"].items()
        if overlay == {"until": "adapt", "adapt": {"method": name}}
    ]
    compared = set(as_it_is).intersection(config["compare"])
    assert compared
    assert row(config, "longer", "adapt")["own"] == {"adapt.optimizer.lr": 2.0e-3}
    for name in compared:
        own = row(config, name, "adapt")["own"]
        assert [key for key in own if not key.startswith("translate.")] == []
    assert row(config, "advent-ensemble", "ensemble")["own"] == {}


def test_a_row_lists_what_its_experiment_changes_of_adapt_the_network_and_its_method(config):
    config["compare"] = ["longer", "mine"]
    config["experiments"]["mine"] = {
        "until": "adapt",
        "network": {"width": 16},
        "adapt": {"method": "advent", "batch_size": 1, "optimizer": {"lr": 6.0e-5}},
        "methods": {"advent": {"entropy": 0.5}, "cycada": {"gate": 0.7}},
    }
    assert row(config, "mine", "adapt")["own"] == {
        "network.width": 16,
        "adapt.batch_size": 1,
        "adapt.optimizer.lr": 6.0e-5,
        "methods.advent.entropy": 0.5,
    }


def test_stages_of_loopda_list_where_their_optimiser_and_batches_are_not_those_of_the_methods(config):
    rates = {"warmup.optimizer.lr": 2.0e-3, "self_train.optimizer.lr": 2.0e-3}
    assert row(config, "loopda", "warmup")["own"] == {"warmup.optimizer.lr": 2.0e-3}
    assert row(config, "loopda", "distill")["own"] == rates | {
        "distill.batch_size": 4,
        "distill.optimizer.lr": 3.0e-3,
    }
    assert row(config, "tau-1", "self_train", "tau")["own"] == {"agreement.tau": 1.0}


def test_settings_that_all_experiments_of_a_comparison_share_are_nobody_s_own(config, root):
    camvid = yaml.safe_load((root / "workflow/config/camvid.yaml").read_text())
    config = experiments.merged(config, camvid)
    rows = table(config, "compare")["rows"]
    assert rows[0]["experiment"] == "camvid"
    own = {one["experiment"]: one["own"] for one in rows if one["stage"] == "adapt"}
    assert own.keys() == set(camvid["compare"]) - {"camvid", "camvid-oracle"}
    assert own.pop("camvid-road-spatial") == {"methods.road.distillation": 0.0}
    assert all(changes == {} for changes in own.values())
    oracle = row(config, "camvid-oracle", "pretrain")
    steps = config["pretrain"]["steps"] + config["adapt"]["steps"]
    assert oracle["own"] == {"data.source.csv": "data/camvid/oracle.csv", "pretrain.steps": steps}


def test_gains_count_from_the_first_row_but_in_run_from_the_source_only_model_of_each_experiment(config):
    wide = {"until": "warmup", "network": {"width": 24}}
    config |= {"experiments": config["experiments"] | {"wide": wide}}
    names = ["loopda", "wide", "no-outer-loop", "advent-ensemble", "oracle"]
    for comparison in ("run", "networks"):
        config[comparison] = names
        baselines = {one["experiment"]: one["baseline"] for one in table(config, comparison)["rows"]}
        assert list(baselines) == names
        own = {"wide": "wide", "oracle": "oracle"} if comparison == "run" else {}
        assert baselines == dict.fromkeys(names, "loopda") | own


def test_in_run_a_row_does_not_repeat_the_settings_of_its_source_only_model(config):
    wide = {"until": "warmup", "network": {"width": 24}, "warmup": {"steps": 7}}
    config |= {"run": ["loopda", "wide"], "experiments": config["experiments"] | {"wide": wide}}
    assert row(config, "wide", "pretrain", "run")["own"] == {"network.width": 24}
    rate = {"warmup.optimizer.lr": 2.0e-3}
    assert row(config, "wide", "warmup", "run")["own"] == {"warmup.steps": 7} | rate
    assert row(config, "loopda", "warmup", "run")["own"] == rate


def test_in_run_the_source_only_model_of_an_ensemble_that_stands_alone_is_its_members(config):
    config["run"] = ["advent-ensemble"]
    assert models(config, "run") == [("loopda", "pretrain"), ("advent-ensemble", "ensemble")]
    assert row(config, "advent-ensemble", "ensemble", "run")["baseline"] == "loopda"


@pytest.mark.parametrize(
    ("comparison", "subtracted"),
    [
        ("compare", ("loopda", "distill")),
        ("ablation", ("loopda", "distill")),
        ("tau", ("loopda", "self_train")),
        ("parts", None),  # without loopda
        ("run", None),
    ],
)
def test_differences_count_from_the_last_model_that_the_list_shows_of_the_chosen_experiment(
    config, comparison, subtracted
):
    found = [(one["experiment"], one["stage"]) for one in table(config, comparison)["rows"] if one["subtracted"]]
    assert found == [subtracted] * (subtracted is not None)


def test_an_ensemble_may_be_subtracted(config):
    config["differences_from"] = "advent-ensemble"
    [found] = [one for one in table(config, "compare")["rows"] if one["subtracted"]]
    assert (found["experiment"], found["stage"]) == ("advent-ensemble", "ensemble")
