"""The section of each stage in an experiment, and who owns its results."""

import copy
from typing import Any

import pytest
import yaml
from configurations import changed, with_experiment

from loopda.pipeline import experiments
from loopda.pipeline.experiments import model_stages, owner, parents, section, training_stages
from loopda.pipeline.merging import merged
from loopda.pipeline.stages import STAGES, TRAINING_STAGES, Parent


def test_a_section_holds_the_shared_sections_under_their_names_and_its_own_keys_flat(config):
    found = section(config, "tau-0.25", "self_train")
    assert found["input"] == config["input"]
    assert found["loops"] == config["loops"]
    assert found["agreement"] == {"tau": 0.25}
    assert found["steps"] == config["self_train"]["steps"]
    assert set(found) == {"input", "compute", "loops", "agreement", *config["self_train"]}


def test_the_section_of_prepare_is_data_and_what_images_and_labels_must_fit(config):
    assert section(config, "loopda", "prepare") == config["data"] | {"input": config["input"]}
    sizes = {"evaluate": {"sizes": {"night": [64, 48]}, "statistics": {"night": "own"}}}
    found = section(with_experiment(config, "mine", sizes), "mine", "prepare")
    assert found["evaluate"] == {"sizes": {"night": [64, 48]}}
    assert section(config, "loopda", "manifest") == config["data"]


@pytest.mark.parametrize(
    ("overlay", "checked_anew"),
    [
        ({"evaluate": {"sizes": {"night": [64, 48]}}}, True),
        ({"evaluate": {"classes": {"night": "present"}}}, True),
        ({"evaluate": {"statistics": {"night": "own"}}}, False),
    ],
)
def test_how_a_set_is_scored_changes_its_evaluation_and_no_training(config, overlay, checked_anew):
    config = with_experiment(config, "mine", overlay)
    assert {owner(config, "mine", stage) for stage in training_stages(config, "mine")} == {"loopda"}
    assert owner(config, "mine", "evaluate", "distill") == "mine"
    assert owner(config, "mine", "prepare") == ("mine" if checked_anew else "loopda")


def test_changing_a_resolved_section_changes_no_configuration(config):
    before = copy.deepcopy(config)
    section(config, "loopda", "warmup")["loops"]["weights"]["seg"] = 99
    assert config == before


def test_an_experiment_without_an_overlay_is_the_configuration_itself(config):
    config["experiments"]["plain"] = None
    assert section(config, "plain", "warmup") == section(config, "loopda", "warmup")


def test_an_experiment_has_what_the_one_that_it_extends_changes_and_its_own_on_top(config):
    config["experiments"] |= {
        "first": {
            "until": "self_train",
            "warmup": {"steps": 7},
            "data": {"night": {"layout": "table", "csv": "a.csv"}},
        },
        "second": {"extends": "first", "warmup": {"batch_size": 3}},
        "third": {"extends": "second", "until": "warmup", "warmup": {"steps": 9}},
    }
    plain, second, third = (section(config, name, "warmup") for name in ("loopda", "second", "third"))
    assert second == plain | {"steps": 7, "batch_size": 3}
    assert third == plain | {"steps": 9, "batch_size": 3}
    assert section(config, "third", "prepare")["night"] == {"layout": "table", "csv": "a.csv"}
    assert experiments.model_stages(config, "second") == ["pretrain", "warmup", "self_train"]
    assert experiments.model_stages(config, "third") == ["pretrain", "warmup"]


def test_a_section_as_yaml_reads_back_as_the_same_section(config):
    for stage in STAGES:
        resolved = section(config, "loopda", stage)
        assert yaml.safe_load(experiments.as_yaml(resolved)) == resolved


# ---------------------------------------------------------------- who owns a stage


@pytest.mark.parametrize("name", ["tau-0.25", "tau-0.75", "tau-1", "no-dna"])
def test_a_sweep_of_tau_shares_one_warm_up_and_trains_its_own_self_training(config, name):
    shared = ("prepare", "pretrain", "warmup", "pseudo_labels", "simclr")
    assert {owner(config, name, stage) for stage in shared} == {"loopda"}
    assert owner(config, name, "self_train") == name
    assert owner(config, name, "distill") == name


def test_no_rendering_owns_its_warm_up_and_all_that_follows_and_shares_the_pretraining(config):
    assert owner(config, "no-rendering", "pretrain") == "loopda"
    assert owner(config, "no-rendering", "simclr") == "loopda"
    for stage in ("warmup", "pseudo_labels", "self_train", "distill"):
        assert owner(config, "no-rendering", stage) == "no-rendering"


def test_every_experiment_owns_its_own_warm_up_in_the_ablation_of_the_loops(config):
    names = ("loopda", "no-outer-loop", "no-inner-loop", "no-rendering")
    assert [owner(config, name, "warmup") for name in names] == list(names)


@pytest.mark.parametrize(
    ("overlay", "own", "shared"),
    [
        (
            {"town": {"seed": 1}},
            {"town", "prepare", "pretrain", "warmup", "pseudo_labels", "self_train", "simclr", "distill"},
            set(),
        ),
        (
            {"data": {"night": {"root": "elsewhere"}}},
            {"prepare", "pretrain", "warmup", "pseudo_labels", "self_train", "simclr", "distill"},
            {"town"},
        ),
        (
            {"pretrain": {"steps": 7}},
            {"pretrain", "warmup", "pseudo_labels", "self_train", "simclr", "distill"},
            {"prepare"},
        ),
        (
            {"warmup": {"steps": 7}},
            {"warmup", "pseudo_labels", "self_train", "distill"},
            {"pretrain", "simclr"},
        ),
        ({"pair": {"tau": 0.5}}, {"pair"}, {"warmup", "pseudo_labels", "self_train", "simclr", "distill"}),
        (
            {"pair": {"enabled": True}},
            {"pair", "pseudo_labels", "self_train", "distill"},
            {"pretrain", "warmup", "simclr"},
        ),
        ({"pseudo_labels": {"cap": 0.5}}, {"pseudo_labels", "self_train", "distill"}, {"warmup", "simclr"}),
        (
            {"pseudo_labels": {"ignore_rows": [0.0, 0.05]}},
            {"pseudo_labels", "self_train", "distill"},
            {"warmup", "simclr"},
        ),
        ({"self_train": {"steps": 7}}, {"self_train", "distill"}, {"pseudo_labels", "simclr"}),
        ({"simclr": {"steps": 7}}, {"simclr", "distill"}, {"self_train"}),
        ({"distill": {"steps": 7}}, {"distill"}, {"self_train", "simclr"}),
        ({"evaluate": {"batch_size": 1}}, {"evaluate"}, {"pretrain", "distill"}),
        (
            {"network": {"width": 10}},
            {"pretrain", "warmup", "pseudo_labels", "self_train", "simclr", "distill"},
            {"prepare"},
        ),
        ({"agreement": {"tau": 0.1}}, {"self_train", "distill"}, {"pseudo_labels", "simclr"}),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_a_change_splits_the_stage_and_its_descendants_and_nothing_else(config, overlay, own, shared):
    config = with_experiment(config, "other", overlay)
    assert {stage for stage in own | shared if owner(config, "other", stage) == "other"} == own


def test_a_stage_may_overrule_a_part_of_a_shared_section_for_itself_alone(config):
    config["warmup"]["compute"] = {"precision": "bf16"}
    config = with_experiment(config, "half", {"distill": {"compute": {"precision": "fp16"}}})
    found = {stage: section(config, "half", stage)["compute"]["precision"] for stage in TRAINING_STAGES}
    assert found == dict.fromkeys(TRAINING_STAGES, "fp32") | {"warmup": "bf16", "distill": "fp16"}
    assert section(config, "half", "warmup")["compute"] == config["compute"] | {"precision": "bf16"}
    assert owner(config, "half", "self_train") == "loopda"
    assert owner(config, "half", "distill") == "half"


def test_an_equal_experiment_shares_everything(config):
    config = with_experiment(config, "same", {"self_train": {"steps": config["self_train"]["steps"]}})
    assert {owner(config, "same", stage) for stage in STAGES} == {"loopda"}


def test_another_threshold_of_enabled_pairs_reaches_self_training(config):
    config = with_experiment(config, "strict", {"pair": {"enabled": True, "replace": True, "tau": 0.9}})
    assert owner(config, "strict", "warmup") == "loopda"
    for stage in ("pair", "pseudo_labels", "self_train"):
        assert owner(config, "paired", stage) == "paired"
        assert owner(config, "strict", stage) == "strict"


def test_pseudo_labels_alone_has_another_parent_where_pairs_are_enabled_and_adapt_alone_with_pixel_level_cycada(config):
    for stage, entry in STAGES.items():
        named = [Parent(parent) if isinstance(parent, str) else parent for parent in entry.parents]
        known = tuple(parent.name for parent in named if parent.where is None)
        assert parents(config, "loopda", stage) == known
        assert parents(config, "cycada-feature", stage) == known
        assert parents(config, "paired", stage) == (("warmup", "pair") if stage == "pseudo_labels" else known)
        assert parents(config, "cycada", stage) == (("pretrain", "translate") if stage == "adapt" else known)


def test_the_owner_of_several_stages_has_all_of_them_in_common(config):
    assert owner(config, "tau-1", "prepare", "evaluate", "warmup") == "loopda"
    assert owner(config, "tau-1", "prepare", "evaluate", "self_train") == "tau-1"
    config = with_experiment(config, "other", {"evaluate": {"batch_size": 1}})
    assert owner(config, "other", "pretrain") == "loopda"
    assert owner(config, "other", "prepare", "evaluate", "pretrain") == "other"


def test_until_ends_an_experiment_and_does_not_change_who_owns_its_stages(config):
    assert model_stages(config, "loopda") == ["pretrain", "warmup", "self_train", "distill"]
    assert model_stages(config, "tau-1") == ["pretrain", "warmup", "self_train"]
    assert model_stages(config, "no-rendering") == ["pretrain", "warmup"]
    shortened = with_experiment(config, "short", {"until": "warmup"})
    assert owner(shortened, "short", "warmup") == "loopda"


def test_the_student_is_trained_for_experiments_that_distil_alone(config):
    assert training_stages(config, "loopda") == ["pretrain", "warmup", "self_train", "simclr", "distill"]
    assert training_stages(config, "tau-1") == ["pretrain", "warmup", "self_train"]


def test_a_baseline_goes_on_from_the_source_only_model_that_all_share_and_trains_nothing_else(config):
    baselines = [name for name in config["compare"] if config["experiments"][name].get("until") == "adapt"]
    assert "longer" in baselines
    for name in baselines:
        assert model_stages(config, name) == ["pretrain", "adapt"]
        assert [stage for stage in training_stages(config, name) if stage != "translate"] == ["pretrain", "adapt"]
        assert owner(config, name, "pretrain") == "loopda"
        assert owner(config, name, "adapt") == name


def test_the_experiments_of_cycada_that_differ_in_adaptation_alone_share_one_translation(config):
    assert training_stages(config, "cycada") == ["pretrain", "translate", "adapt"]
    assert training_stages(config, "cycada-feature") == model_stages(config, "cycada") == ["pretrain", "adapt"]
    assert owner(config, "cycada-pixel", "translate") == owner(config, "cycada", "translate") == "cycada"
    assert owner(config, "cycada-pixel-no-semantic", "translate") == "cycada-no-semantic"
    for name in ("cycada-pixel-no-cycle", "cycada-no-semantic", "cycada-pixel-no-semantic-no-cycle"):
        assert owner(config, name, "pretrain") == "loopda"
        assert owner(config, name, "translate") == name
    for name in [name for name in config["parts"] if name.startswith("cycada")]:
        assert owner(config, name, "adapt") == name


def test_another_translation_reaches_adaptation_where_it_is_read_and_nowhere_else(config):
    overlay = {"until": "adapt", "adapt": {"method": "cycada"}, "translate": {"steps": 7}}
    config = with_experiment(config, "other", overlay)
    assert owner(config, "other", "translate") == owner(config, "other", "adapt") == "other"
    config = with_experiment(config, "other", overlay | {"methods": {"cycada": {"pixel": False, "supervised": 0.0}}})
    assert owner(config, "other", "adapt") == "cycada-feature"


def test_adapt_gets_its_own_method_so_that_the_numbers_of_another_one_change_nothing_for_it(config):
    found = section(config, "minent", "adapt")
    assert found["method"] == {"name": "advent", **config["methods"]["advent"]} | {
        "entropy": 1e-1,
        "adversarial": 0.0,
    }
    changed_cycada = changed(config, "methods/cycada/gate", 0.7)
    assert section(changed_cycada, "minent", "adapt") == found
    assert section(changed_cycada, "cycada", "adapt") != section(config, "cycada", "adapt")


def test_an_ensemble_trains_nothing_has_the_data_of_its_members_and_scores_of_its_own(config):
    assert experiments.members(config, "advent-ensemble") == ["minent", "advent"]
    assert experiments.members(config, "advent") == []
    assert model_stages(config, "advent-ensemble") == ["ensemble"]
    assert training_stages(config, "advent-ensemble") == []
    assert experiments.scored_as(config, "advent-ensemble", "ensemble") == "advent-ensemble"
    elsewhere = {"data": {"night_val": {"layout": "table", "csv": "mine.csv"}}}
    for name in ("minent", "advent"):
        config["experiments"][name] = merged(config["experiments"][name], elsewhere)
    assert section(config, "advent-ensemble", "prepare") == section(config, "minent", "prepare")
    assert experiments.owner_of_set(config, "advent-ensemble", "night_val") == "minent"


def test_an_ensemble_owns_no_training_of_its_members_wherever_it_stands(config):
    first = {"advent-ensemble": config["experiments"].pop("advent-ensemble")}
    config["experiments"] = first | config["experiments"]
    assert owner(config, "minent", "adapt") == "minent"
    assert owner(config, "minent", "pretrain") == "loopda"


def test_a_stage_has_its_own_number_of_processes_or_the_default_and_the_others_have_one(config):
    config["processes"] = {"default": 2, "simclr": 4}
    numbers = {stage: experiments.processes(config, stage) for stage in ("warmup", "simclr", "evaluate", "report")}
    assert numbers == {"warmup": 2, "simclr": 4, "evaluate": 2, "report": 1}


def test_the_order_of_keys_in_an_overlay_changes_no_section(config):
    folder = {"layout": "folder", "root": "d", "images": "n/*.png", "labels": "l/{stem}.png", "encoding": "ids"}
    sgd = {"name": "sgd", "lr": 1.0e-5, "momentum": 0.99, "weight_decay": 0.0, "head_factor": 1.0, "power": 0.9}
    overlay = {
        "data": {"night_val": folder},
        "evaluate": {"upsampled": "logits", "full_size": ["night"]},
        "adapt": {"method": "cycada"},
        "methods": {"cycada": {"alignment_optimizer": sgd}},
    }

    def backwards(values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {key: backwards(values[key]) for key in reversed(values)}

    one = with_experiment(config, "mine", overlay)
    other = with_experiment(config, "mine", backwards(overlay))
    for stage in ("evaluate", "adapt"):
        found = [experiments.as_yaml(section(these, "mine", stage)) for these in (one, other)]
        assert found[0] == found[1]
    found = [experiments.as_yaml(experiments.set_section(these, "mine", "night_val")) for these in (one, other)]
    assert found[0] == found[1]


def test_each_owner_in_a_cached_configuration_is_computed_once(config, monkeypatch):
    cached = experiments.CachedConfig(with_experiment(config, "mine", {"extends": "loopda", "distill": {"steps": 7}}))
    wanted = {(name, stage): owner(dict(cached), name, stage) for name in cached["experiments"] for stage in ["warmup"]}
    assert {key: owner(cached, *key) for key in wanted} == wanted
    assert experiments.checked_with(cached, "loopda") == experiments.checked_with(dict(cached), "loopda")
    monkeypatch.setattr(experiments, "section", None)
    assert {key: owner(cached, *key) for key in wanted} == wanted
    assert not isinstance(cached | {"run": ["mine"]}, experiments.CachedConfig)
