"""Which section a stage is told, who owns its results, and what is refused before anything starts."""

import copy
import datetime
import json
import math
import re
from typing import Any

import pytest
import yaml

from loopda.errors import ConfigError
from loopda.pipeline import experiments
from loopda.pipeline.checking import check
from loopda.pipeline.checking.names import faults_of_set_names
from loopda.pipeline.experiments import model_stages, owner, parents, section, training_stages
from loopda.pipeline.merging import merged, merged_by_key, normalised
from loopda.pipeline.stages import STAGES, TRAINING_STAGES, Parent

Config = dict[str, Any]


@pytest.fixture
def config(root) -> Config:
    """config.yaml as it is."""
    return yaml.safe_load((root / "config.yaml").read_text())


@pytest.fixture(scope="module")
def schemas(root) -> Config:
    return json.loads((root / "loopda/pipeline/config.schema.json").read_text())


def changed(config: Config, path: str, value: Any) -> Config:
    """A copy of `config` with another value at `path`, whose parts are separated by '/'."""
    result = copy.deepcopy(config)
    *folders, name = path.split("/")
    place = result
    for folder in folders:
        if place.get(folder) is None:
            place[folder] = {}
        place = place[folder]
    place[name] = value
    return result


def with_experiment(config: Config, name: str, overlay: Any) -> Config:
    return changed(config, f"experiments/{name}", overlay)


def faults(config: Config, schemas: Config) -> list[str]:
    """The lines of the ConfigError that check raises; it must raise one."""
    with pytest.raises(ConfigError) as raised:
        check(config, schemas)
    return str(raised.value).splitlines()


# ---------------------------------------------------------------- merging


def test_mappings_merge_key_by_key_and_lists_are_replaced():
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 3}
    assert merged(base, {"a": {"c": [9]}}) == {"a": {"b": 1, "c": [9]}, "d": 3}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 3}


def test_an_overlay_of_another_layout_replaces_the_mapping_and_one_of_the_same_layout_merges():
    base = {"night": {"layout": "dark_zurich", "root": "here", "split": "train"}}
    table = merged(base, {"night": {"layout": "table", "csv": "mine.csv"}})
    assert table == {"night": {"layout": "table", "csv": "mine.csv"}}
    moved = merged(base, {"night": {"layout": "dark_zurich", "root": "there"}})
    assert moved == {"night": {"layout": "dark_zurich", "root": "there", "split": "train"}}
    assert merged(base, {"night": {"root": "there"}}) == moved


def test_a_null_in_an_overlay_is_a_value_and_not_the_value_beneath():
    assert merged({"a": {"b": 1}, "c": 2}, {"a": None}) == {"a": None, "c": 2}
    assert merged({"a": {"b": 1}}, {"a": {"b": None}}) == {"a": {"b": None}}


@pytest.mark.fault(61, "the keys of the layout that is replaced are gone")
def test_a_layout_at_the_top_of_a_later_file_replaces_that_of_an_earlier_one_as_in_an_experiment(config):
    mine = {"layout": "folder", "root": "mine", "images": "*.jpg"}
    moved = {"layout": "dark_zurich", "root": "elsewhere"}
    overlay = {"data": {"night": mine, "night_val": moved}, "device": "cpu"}
    by_key = merged_by_key(config, overlay)
    assert "split" in by_key["data"]["night"]  # as Snakemake merges
    found = normalised(by_key, config, [overlay])
    assert found["data"]["night"] == mine
    assert found["data"]["night_val"] == {**moved, "split": "val"}
    assert found["data"]["source"] == config["data"]["source"]
    assert found["device"] == "cpu"
    assert list(found) == list(by_key)


@pytest.mark.fault(61, "also where a third file goes back to the first layout")
def test_a_layout_that_a_file_replaces_and_the_next_one_names_again_has_the_keys_of_the_last_alone(config):
    overlays = [
        {"experiments": {"mine": {"data": {"night": {"layout": "folder", "root": "x", "images": "*.jpg"}}}}},
        {"experiments": {"mine": {"data": {"night": {"layout": "table", "csv": "x.csv"}}}}},
    ]
    by_key = merged_by_key(merged_by_key(config, overlays[0]), overlays[1])
    found = normalised(by_key, config, overlays)
    assert found["experiments"]["mine"]["data"]["night"] == {"layout": "table", "csv": "x.csv"}


def test_a_section_holds_the_shared_sections_under_their_names_and_its_own_keys_flat(config):
    found = section(config, "tau-0.25", "self_train")
    assert found["input"] == config["input"]
    assert found["loops"] == config["loops"]
    assert found["agreement"] == {"tau": 0.25}
    assert found["steps"] == config["self_train"]["steps"]
    assert set(found) == {"input", "compute", "loops", "agreement", *config["self_train"]}


def test_prepare_is_told_the_section_data_alone(config):
    assert section(config, "loopda", "prepare") == config["data"]


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


def test_an_extension_is_refused_of_nothing_of_itself_and_of_an_ensemble(config, schemas):
    config["experiments"] |= {
        "of-nothing": {"extends": "loopd"},
        "one": {"extends": "other"},
        "other": {"extends": "one"},
        "of-several": {"extends": "advent-ensemble"},
    }
    found = "\n".join(faults(config, schemas))
    assert "experiments.of-nothing.extends: no experiment 'loopd'; there are loopda" in found
    assert "name the file that has it after --configfile" in found
    assert "experiments.one.extends: one extends other extends one" in found
    assert "experiments.of-several.extends: advent-ensemble is an ensemble" in found


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
    for name in ("longer", "adaptsegnet", "minent", "advent", "dann"):
        assert model_stages(config, name) == training_stages(config, name) == ["pretrain", "adapt"]
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


def test_adapt_is_told_its_own_method_so_that_another_ones_numbers_change_nothing_for_it(config):
    found = section(config, "minent", "adapt")
    assert found["method"] == {"name": "advent", **config["methods"]["advent"]} | {
        "entropy": 1e-2,
        "adversarial": 0.0,
    }
    changed_dann = changed(config, "methods/dann/weight", 7.0)
    assert section(changed_dann, "minent", "adapt") == found
    assert section(changed_dann, "dann", "adapt") != section(config, "dann", "adapt")


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


# ---------------------------------------------------------------- what is refused


def test_the_configuration_as_it_is_passes(config, schemas):
    check(config, schemas)


WRONG = [  # path, value, words of the message
    ("warmup/stepz", 3, ["warmup", "stepz"]),
    ("warmup/optimizer/lrr", 3.0, ["warmup.optimizer", "lrr"]),
    ("loops/decoders/wide", 3, ["loops.decoders", "wide"]),
    ("data/nigth", {"layout": "table", "csv": "x.csv"}, ["data", "nigth"]),
    ("nonsense", {}, ["nonsense"]),
    ("experiments/tau-1/agrement", {"tau": 1.0}, ["experiments.tau-1", "agrement"]),
    ("experiments/tau-1/agreement/tua", 1.0, ["agreement", "tua", "tau-1"]),
    ("warmup/steps", "400", ["warmup.steps", "'400'", "integer"]),
    ("warmup/steps", 1e3, ["warmup.steps", "1000.0", "integer"]),
    ("warmup/steps", True, ["warmup.steps", "True", "integer"]),
    ("loops/inner_loop", "yes", ["loops.inner_loop", "boolean"]),
    ("input/size", [256], ["input.size"]),
    ("input/size", [256.0, 128.0], ["input.size.0", "256.0", "integer"]),
    ("input/source_size", [256], ["input.source_size", "256"]),
    ("data/night_tests", {"rain": {"layout": "table", "cvs": "x.csv"}}, ["data.night_tests.rain", "cvs"]),
    ("data/night_tests", {"night": {"layout": "table", "csv": "x.csv"}}, ["data.night_tests", "'night' is taken"]),
    ("data/night_tests", {"my-full": {"layout": "table", "csv": "x.csv"}}, ["data.night_tests", "'my-full' is taken"]),
    ("data/night_tests", {"a/b": {"layout": "table", "csv": "x.csv"}}, ["data.night_tests", "'a/b'", "letters"]),
    ("evaluate/full_size", ["rain"], ["evaluate.full_size", "'rain'", "night, day"]),
    ("evaluate/upsampled", "labels", ["evaluate.upsampled", "labels", "logits"]),
    ("submission/stages", ["simclr"], ["submission.stages", "simclr", "distill"]),
    ("submission/invalid_below", 1.5, ["submission.invalid_below", "maximum"]),
    ("network/output_stride", 16, ["network.output_stride", "16"]),
    ("data/source/layout", "coco", ["data.source", "coco", "cityscapes", "table"]),
    ("data/source/layout", ["cityscapes"], ["data.source", "cityscapes"]),
    ("data/source", "cityscapes", ["data.source", "cityscapes", "object"]),
    ("data/source/root", 3, ["data.source.root", "3", "string"]),
    ("data/source/split", "training", ["data.source.split", "training", "val"]),
    ("data/source/pairs", "pairs.csv", ["data.source", "pairs", "unexpected"]),
    ("data/night", {"layout": "folder", "root": "x", "images": "night/**"}, ["data.night.images", "one *"]),
    (
        "data/night",
        {"layout": "folder", "root": "x", "images": "night/*.jpg", "references": "day/{name}.jpg"},
        ["data.night.references", "{stem}"],
    ),
    ("warmup/steps", 0, ["warmup.steps", "minimum"]),
    ("compute/precision", "bf8", ["configuration: compute.precision", "bf8", "fp16"]),
    ("warmup/compute", {"precision": "bf8"}, ["configuration: warmup.compute.precision", "bf8"]),
    ("compute/reproducibility", "always", ["compute.reproducibility", "seeded"]),
    ("compute/memory", "tiny", ["compute.memory", "small"]),
    ("compute/compiled", "yes", ["compute.compiled", "boolean"]),
    ("warmup/compute", {"compiled": True, "memory": "small"}, ["compute.compiled", "memory to fast", "stage warmup"]),
    ("warmup/compute", {"compiled": True, "reproducibility": "exact"}, ["compute.compiled", "seeded", "stage warmup"]),
    ("experiments/dann/compute", {"compiled": True, "memory": "least"}, ["compute.compiled", "experiment dann"]),
    ("compute/skipped_steps", 0, ["compute.skipped_steps", "minimum"]),
    ("warmup/optimizer/lr", 0, ["warmup.optimizer.lr", "minimum"]),
    ("warmup/optimizer/momentum", 1.0, ["warmup.optimizer.momentum", "maximum"]),
    ("agreement/tau", 1.5, ["agreement.tau", "maximum"]),
    ("pair/tau", 0, ["pair.tau", "minimum"]),
    ("pair/overlap", "static", ["pair.overlap", "static", "each_static"]),
    ("pair/size", [8, 8], ["pair.size", "minimum"]),
    ("pair/enabled", "yes", ["pair.enabled", "boolean"]),
    ("data/day", {"layout": "coco"}, ["data.day", "coco", "folder"]),
    ("data/day", {"layout": "folder", "root": "x", "images": "day/**"}, ["data.day.images", "one *"]),
    ("pseudo_labels/cap", -0.1, ["pseudo_labels.cap", "minimum"]),
    ("pseudo_labels/ignore_rows", [0.0, 0.5], ["pseudo_labels.ignore_rows.1", "maximum"]),
    ("pseudo_labels/ignore_rows", [-0.1, 0.0], ["pseudo_labels.ignore_rows.0", "minimum"]),
    ("pseudo_labels/ignore_rows", [0.1], ["pseudo_labels.ignore_rows", "short"]),
    ("pseudo_labels/ignore_rows", 0.1, ["pseudo_labels.ignore_rows", "array"]),
    ("simclr/normalisation", "cafe", ["simclr.normalisation", "cafe"]),
    ("translate/weights/cycel", 1.0, ["translate.weights", "cycel"]),
    ("translate/discriminators/layers", 0, ["translate.discriminators.layers", "minimum"]),
    ("methods/cycada/pixel", "yes", ["methods.cycada.pixel", "boolean"]),
    ("adapt/method", "adventt", ["adapt.method", "'adventt'", "advent, dann"]),
    ("experiments/dann/adapt/method", "dan", ["experiments.dann.adapt.method", "'dan'", "dann"]),
    ("methods/advent/entropie", 1.0, ["methods.advent", "entropie"]),
    ("methods/advent/entropy", -1.0, ["methods.advent.entropy", "minimum"]),
    ("methods/advent", 3, ["methods.advent", "3"]),
    ("methods/mine", {"weight": 1.0}, ["methods.mine", "no method 'mine'", "dann"]),
    ("methods/road/grid", [3], ["methods.road.grid", "[3]"]),
    ("methods/road/grid", [3, 0], ["methods.road.grid.1", "minimum"]),
    ("methods/road/weights", "no/such.pth", ["methods.road.weights", "no/such.pth"]),
    ("experiments/dann/methods", {"dan": {}}, ["experiments.dann.methods", "'dan'"]),
    (
        "experiments/advent-ensemble/ensemble",
        ["advent", "adventt"],
        ["advent-ensemble.ensemble", "'adventt'", "advent"],
    ),
    ("experiments/advent-ensemble/ensemble", ["advent"], ["advent-ensemble.ensemble", "two experiments or more"]),
    (
        "experiments/advent-ensemble/ensemble",
        ["advent", "advent"],
        ["advent-ensemble.ensemble", "'advent' occurs twice"],
    ),
    ("experiments/advent-ensemble/ensemble", "advent", ["advent-ensemble.ensemble", "a list of experiments"]),
    ("experiments/advent-ensemble/ensemble", [], ["advent-ensemble.ensemble", "a list of experiments"]),
    ("experiments/advent-ensemble/warmup", {"steps": 3}, ["advent-ensemble", "trains nothing", "remove warmup"]),
    ("experiments/twice/ensemble", ["dann", "advent-ensemble"], ["twice.ensemble", "'advent-ensemble' is an ensemble"]),
    (
        "experiments/advent/data",
        {"classes": "mine.yaml"},
        ["advent-ensemble.ensemble", "differ in data", "same classes"],
    ),
    ("experiments/advent/evaluate", {"batch_size": 1}, ["advent-ensemble.ensemble", "differ in evaluate"]),
    ("compare", ["nonsense"], ["compare", "nonsense", "loopda"]),
    ("ablation", "loopda", ["ablation", "a list of experiments"]),
    ("tau", ["loopda", "loopda"], ["tau", "'loopda' occurs twice"]),
    ("run", ["nonsense"], ["run", "nonsense", "loopda"]),
    ("run", [], ["run"]),
    ("run", "loopda", ["run"]),
    ("run", [["loopda"]], ["run"]),
    ("seeds", [0, 0], ["seeds", "[0, 0]", "different"]),
    ("seeds", [-1], ["seeds", "[-1]"]),
    ("seeds", [0.5], ["seeds", "[0.5]"]),
    ("seeds", 0, ["seeds", "0"]),
    ("table_seeds", [1, 1], ["table_seeds", "[1, 1]"]),
    ("table_seeds", [], ["table_seeds"]),
    ("device", "gpu", ["device", "gpu", "cuda"]),
    ("processes", 2, ["processes", "default", "2"]),
    ("processes", {"warmup": 2}, ["processes", "default"]),
    ("processes/default", 0, ["processes.default", "0"]),
    ("processes/pair", 2, ["processes", "'pair'", "self_train"]),
    ("processes/warmup", 3, ["processes", "3", "warmup.batch_size 2", "processes.warmup"]),
    ("experiments", {}, ["experiments"]),
    ("experiments/a b", {}, ["experiments.a b", "letters"]),
    ("experiments/tau-1", 3, ["experiments.tau-1", "3"]),
    ("experiments/tau-1/until", "simclr", ["experiments.tau-1.until", "simclr", "distill"]),
    ("experiments/tau-1/seeds", [1], ["experiments.tau-1", "seeds"]),
    ("experiments/tau-1/warmup", 3, ["warmup", "3"]),
    ("experiments/tau-1/town", {"width": 64}, ["experiments.tau-1", "town"]),
    ("warmup", 3, ["warmup", "3"]),
    ("input", [3], ["input", "[3]"]),
    ("pretrain/optimizer", None, ["pretrain.optimizer", "write a value, or remove the key"]),
    ("experiments/tau-1/warmup", {"steps": None}, ["warmup.steps", "None", "experiment tau-1"]),
    ("experiments/loopda/data", {"night": None}, ["data.night: there is no such set", "experiment loopda"]),
    ("warmup/compute", None, ["warmup.compute", "None"]),
    ("experiments/mine", None, ["experiments.mine", "expected sections ({} for none)", "None"]),
    ("experiments/mine", False, ["experiments.mine", "expected sections", "False"]),
    ("experiments/mine", [], ["experiments.mine", "expected sections", "[]"]),
    ("experiments/..", {}, ["experiments", "the name '..'"]),
    # what YAML makes of names and values without quotes
    ("run", [False], ["run", "no experiment False", "quotes"]),
    ("run", [2024], ["run", "no experiment 2024", '"2024"']),
    ("experiments/mine", {"extends": 2024}, ["experiments.mine.extends", "2024", "quotes"]),
    ("experiments/mine", {"until": False}, ["experiments.mine.until", "False", "quotes"]),
    ("experiments/mine", {False: {}}, ["experiments.mine", "the name False", "truth value", "quotes"]),
    ("data/night_tests", {2024: {"layout": "table", "csv": "x.csv"}}, ["data.night_tests", "the name 2024", "number"]),
    ("data/night_tests", {datetime.date(2024, 1, 5): {}}, ["data.night_tests", "2024-01-05", "date"]),
    ("data/classes", datetime.date(2024, 1, 5), ["data.classes", "date", "quotes"]),
    ("data/source/root", False, ["data.source.root", "False", "quotes"]),
    ("adapt/method", False, ["adapt.method", "False", "quotes"]),
    ("loops/decoders/lpips", False, ["loops.decoders.lpips", "False", "quotes"]),
    ("pretrain/optimizer/lr", "1e-4", ["pretrain.optimizer.lr", "'1e-4'", "write 1.0e-4"]),
    ("warmup/steps", "1e3", ["warmup.steps", "write 1000"]),
    ("warmup/steps", 1200.0, ["warmup.steps", "write 1200"]),
    ("submission/overlap", "6e1", ["submission.overlap", "write 60"]),
    ("pair/size", ["80", "40"], ["pair.size.0", "write 80"]),
    ("loops/inner_loop", "off", ["loops.inner_loop", "write true or false"]),
    ("loops/weights/seg", math.nan, ["loops.weights.seg", "nan", "finite"]),
    ("loops/weights/seg", math.inf, ["loops.weights.seg", "inf", "finite"]),
    ("loops/decoders/lpips_weights", "no/such.pth", ["loops.decoders.lpips_weights", "no/such.pth"]),
    ("simclr/weights", "no/such.pth", ["simclr.weights", "no/such.pth"]),
]


@pytest.mark.parametrize(("path", "value", "says"), WRONG, ids=[f"{path}={value}" for path, value, _ in WRONG])
@pytest.mark.fault(37, "the path of the key is named")
def test_a_wrong_value_is_refused_with_the_path_of_its_key(config, schemas, path, value, says):
    found = faults(changed(config, path, value), schemas)
    assert any(all(word in line for word in says) for line in found), found
    assert all(line.startswith("configuration: ") for line in found)


def test_a_stage_has_its_own_number_of_processes_or_the_default_and_the_others_have_one(config):
    config["processes"] = {"default": 2, "simclr": 4}
    numbers = {stage: experiments.processes(config, stage) for stage in ("warmup", "simclr", "evaluate", "report")}
    assert numbers == {"warmup": 2, "simclr": 4, "evaluate": 2, "report": 1}


@pytest.mark.parametrize("name", sorted(experiments.SECTIONS))
def test_a_missing_section_is_refused_by_name(config, schemas, name):
    del config[name]
    assert faults(config, schemas) == [f"configuration: the section {name!r} is missing"]


@pytest.mark.parametrize("path", ["warmup/steps", "input/crop", "loops/weights/adv", "evaluate/batch_size"])
def test_a_missing_number_is_refused_and_has_no_hidden_default(config, schemas, path):
    *folders, name = path.split("/")
    place = config
    for folder in folders:
        place = place[folder]
    del place[name]
    assert any(".".join(folders) in line and f"'{name}'" in line for line in faults(config, schemas))


@pytest.mark.fault(37, "all are listed at once")
def test_every_fault_is_listed_at_once_and_none_of_them_twice(config, schemas):
    config["warmup"]["steps"] = 0
    config["distill"]["kl_masked"] = 1
    config["experiments"]["tau-1"]["agreement"]["tau"] = 2.0
    found = faults(config, schemas)
    for path in ("warmup.steps", "distill.kl_masked", "agreement.tau"):
        assert any(path in line for line in found)
    assert len(found) == len(set(found))


@pytest.mark.fault(62, "one line, with how many have it")
@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        ("warmup/steps", 0, "warmup.steps: 0 is less than the minimum of 1"),
        ("data/night/layout", "coco", "data.night: there is no layout 'coco'"),
        ("loops/decoders/lpips_weights", "no/such.pth", "loops.decoders.lpips_weights: no such file"),
        ("evaluate/full_size", ["rain"], "evaluate.full_size: no set 'rain'"),
    ],
)
def test_a_fault_of_every_experiment_is_one_line_with_three_of_them(config, schemas, path, value, fault):
    (line,) = faults(changed(config, path, value), schemas)
    assert line.startswith(f"configuration: {fault}")
    count = len(config["experiments"]) - 3
    assert re.search(rf"\(experiments [\w., -]+ and {count} more\)$", line)


@pytest.mark.fault(62, "one line, with how many have it")
@pytest.mark.parametrize(
    ("overlay", "fault"),
    [
        ({"wramup": {}}, ": there is no section 'wramup'"),
        ({"until": "simclr"}, ".until: 'simclr' is not one of"),
        ({"adapt": {"method": "adventt"}}, ".adapt.method: there is no method 'adventt'"),
        ({"extends": "lopda"}, ".extends: no experiment 'lopda'"),
        ({"warmup": 3}, ".warmup: expected keys with values, found 3"),
    ],
    ids=str,
)
def test_a_fault_that_300_experiments_repeat_is_one_line(config, schemas, overlay, fault):
    config["experiments"] |= {f"mine-{number}": overlay for number in range(300)}
    (line,) = faults(config, schemas)
    assert line.startswith(f"configuration: experiments.mine-0{fault}")
    assert line.endswith("(and in experiments mine-1, mine-2, mine-3 and 296 more)")


def test_the_experiments_that_share_a_fault_are_all_named_where_they_are_few(config, schemas):
    config["experiments"] |= {name: {"warmup": {"steps": 0}} for name in ("a", "b")}
    (line,) = faults(config, schemas)
    assert line.endswith(" (experiments a, b)")


def test_an_overlay_in_the_place_of_config_yaml_is_told_so_in_one_line(schemas):
    (line,) = faults({"warmup": {"steps": 3}}, schemas)
    assert "sections are missing: ablation, adapt" in line
    assert "after --configfile" in line


WEIGHTS = {
    "pretrain/weights": "resnet101-v1",
    "simclr/weights": "simclrv2-r101",
    "methods/road/weights": "deeplab-init",
    "convert/weights": "advent-gta",
    "loops/decoders/lpips_weights": "alexnet",
}


@pytest.mark.parametrize("path", WEIGHTS)
def test_weights_are_accepted_by_name_and_by_an_address_with_its_digest_alone(config, schemas, path):
    check(changed(config, path, WEIGHTS[path]), schemas)
    check(changed(config, path, f"https://example.org/net.pth#sha256={'0' * 64}"), schemas)
    lines = faults(changed(config, path, "https://example.org/net.pth"), schemas)
    assert any(path.replace("/", ".") in line and "needs its SHA-256" in line for line in lines)


def test_weights_that_exist_are_accepted(config, schemas, tmp_path):
    weights = tmp_path / "alexnet.pth"
    weights.write_bytes(bytes.fromhex("80028a0a6cfc9c46f9206aa85019"))  # how a file of torch.save may begin
    config["loops"]["decoders"]["lpips_weights"] = str(weights)
    check(config, schemas)


@pytest.mark.parametrize(
    ("path", "name", "wrong"),
    [
        ("pretrain/weights", "vgg16", "vgg16 is a trunk of LPIPS, a backbone is wanted"),
        ("convert/weights", "resnet101-v1", "resnet101-v1 is a backbone, a whole network is wanted"),
        ("loops/decoders/lpips_weights", "advent-gta", "advent-gta is a whole network, a trunk of LPIPS is wanted"),
    ],
)
def test_published_weights_of_another_kind_than_a_key_wants_are_refused(config, schemas, path, name, wrong):
    assert any(line.startswith(f"configuration: {path.replace('/', '.')}: {wrong}") for line in faults(
        changed(config, path, name), schemas
    ))  # fmt: skip


@pytest.mark.fault(82, "refused when the configuration is read")
def test_a_web_page_that_was_saved_as_weights_is_refused_when_the_configuration_is_read(config, schemas, tmp_path):
    page = tmp_path / "resnet101.pth"
    page.write_text("<!DOCTYPE html><html><title>Quota exceeded</title></html>")
    found = faults(changed(config, "pretrain/weights", str(page)), schemas)
    assert any("pretrain.weights" in line and "a web page" in line for line in found)


def test_a_whole_number_is_accepted_where_a_fraction_is_expected(config, schemas):
    config["warmup"]["optimizer"]["lr"] = 1
    check(config, schemas)


def test_further_sets_of_night_images_can_be_named_and_scored_at_full_size(config, schemas):
    overlay = {
        "data": {"night_tests": {"rain": {"layout": "table", "csv": "rain.csv"}}},
        "evaluate": {"full_size": ["night", "rain"]},
    }
    check(with_experiment(config, "mine", overlay), schemas)


def test_an_experiment_on_a_table_of_images_passes(config, schemas):
    table = {"layout": "table", "csv": "mine.csv"}
    check(with_experiment(config, "mine", {"data": {"night": table, "night_val": table}}), schemas)


@pytest.mark.parametrize("name", ["e" * 201, "ü" * 101], ids=["letters", "bytes"])
@pytest.mark.fault(74, "refused when the configuration is read, with its length and the limit")
def test_a_name_that_is_too_long_for_the_files_called_by_it_is_refused_before_anything_starts(config, schemas, name):
    (line,) = faults(with_experiment(config, name, {}), schemas)
    assert f"a name of {len(name.encode())} bytes" in line
    assert "at most 200" in line
    check(with_experiment(config, "e" * 200, {}), schemas)
    (line,) = faults_of_set_names([name])
    assert "at most 200" in line


@pytest.mark.fault(77, "experiments that share a folder on a disk without capital letters are refused")
def test_experiments_that_differ_in_capital_letters_alone_are_refused(config, schemas):
    (line,) = faults(with_experiment(config, "LoopDA", {}), schemas)
    assert "loopda and LoopDA differ in capital letters alone" in line


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


def test_of_a_settled_configuration_each_owner_is_worked_out_once(config, monkeypatch):
    settled = experiments.CachedConfig(with_experiment(config, "mine", {"extends": "loopda", "distill": {"steps": 7}}))
    wanted = {
        (name, stage): owner(dict(settled), name, stage) for name in settled["experiments"] for stage in ["warmup"]
    }
    assert {key: owner(settled, *key) for key in wanted} == wanted
    assert experiments.checked_with(settled, "loopda") == experiments.checked_with(dict(settled), "loopda")
    monkeypatch.setattr(experiments, "section", None)
    assert {key: owner(settled, *key) for key in wanted} == wanted
    assert not isinstance(settled | {"run": ["mine"]}, experiments.CachedConfig)
