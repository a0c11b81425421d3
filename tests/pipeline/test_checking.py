"""What is refused before anything starts, and what the message says."""

import datetime
import math
import re

import pytest
from configurations import Config, changed, with_experiment

from loopda.errors import ConfigError
from loopda.pipeline import experiments
from loopda.pipeline.checking import check
from loopda.pipeline.checking.names import faults_of_set_names


def faults(config: Config, schemas: Config) -> list[str]:
    """The lines of the ConfigError that check raises; it must raise one."""
    with pytest.raises(ConfigError) as raised:
        check(config, schemas)
    return str(raised.value).splitlines()


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
    ("experiments/longer/compute", {"compiled": True, "memory": "least"}, ["compute.compiled", "experiment longer"]),
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
    ("adapt/method", "adventt", ["adapt.method", "'adventt'", "source_only, adaptsegnet"]),
    ("experiments/longer/adapt/method", "source", ["experiments.longer.adapt.method", "'source'", "source_only"]),
    ("methods/advent/entropie", 1.0, ["methods.advent", "entropie"]),
    ("methods/advent/entropy", -1.0, ["methods.advent.entropy", "minimum"]),
    ("methods/advent", 3, ["methods.advent", "3"]),
    ("methods/mine", {"weight": 1.0}, ["methods.mine", "no method 'mine'", "advent"]),
    ("methods/road/grid", [3], ["methods.road.grid", "[3]"]),
    ("methods/road/grid", [3, 0], ["methods.road.grid.1", "minimum"]),
    ("methods/road/weights", "no/such.pth", ["methods.road.weights", "no/such.pth"]),
    ("experiments/longer/methods", {"source": {}}, ["experiments.longer.methods", "'source'"]),
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
    (
        "experiments/twice/ensemble",
        ["longer", "advent-ensemble"],
        ["twice.ensemble", "'advent-ensemble' is an ensemble"],
    ),
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
    ("differences_from", "lopda", ["differences_from", "no experiment 'lopda'", "loopda", '""']),
    ("differences_from", ["loopda"], ["differences_from", "no experiment ['loopda']"]),
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
    ("loops/decoders/perceptual", False, ["loops.decoders.perceptual", "False", "quotes"]),
    ("pretrain/optimizer/lr", "1e-4", ["pretrain.optimizer.lr", "'1e-4'", "write 1.0e-4"]),
    ("warmup/steps", "1e3", ["warmup.steps", "write 1000"]),
    ("warmup/steps", 1200.0, ["warmup.steps", "write 1200"]),
    ("evaluate/statistics", {"night": "dusk"}, ["evaluate.statistics.night", "'dusk' is not one of"]),
    ("evaluate/statistics", {"rain": "own"}, ["evaluate.statistics: no set 'rain'", "night, day"]),
    ("evaluate/sizes", {"night": [8, 144]}, ["evaluate.sizes.night.0", "8"]),
    ("evaluate/sizes", {"rain": [256, 144]}, ["evaluate.sizes: no set 'rain'"]),
    ("evaluate/classes", {"night": "some"}, ["evaluate.classes.night: 'present' was expected"]),
    ("evaluate/classes", {"night": []}, ["evaluate.classes.night", "[]"]),
    ("evaluate/classes", {"rain": "present"}, ["evaluate.classes: no set 'rain'"]),
    ("submission/overlap", "6e1", ["submission.overlap", "write 60"]),
    ("pair/size", ["80", "40"], ["pair.size.0", "write 80"]),
    ("loops/inner_loop", "off", ["loops.inner_loop", "write true or false"]),
    ("loops/weights/seg", math.nan, ["loops.weights.seg", "nan", "finite"]),
    ("loops/weights/seg", math.inf, ["loops.weights.seg", "inf", "finite"]),
    ("loops/decoders/lpips_weights", "no/such.pth", ["loops.decoders.lpips_weights", "no/such.pth"]),
    ("loops/decoders/lpips_weights", "alexnet", ["loops.decoders.lpips_weights: 'alexnet' is not empty", "lpips-alex"]),
    ("loops/decoders/lpips", "vgg", ["loops.decoders", "lpips is now perceptual:", "lpips-vgg (for vgg)"]),
    ("simclr/weights", "no/such.pth", ["simclr.weights", "no/such.pth"]),
]


@pytest.mark.parametrize(("path", "value", "says"), WRONG, ids=[f"{path}={value}" for path, value, _ in WRONG])
@pytest.mark.fault(37, "the path of the key is named")
def test_a_wrong_value_is_refused_with_the_path_of_its_key(config, schemas, path, value, says):
    found = faults(changed(config, path, value), schemas)
    assert any(all(word in line for word in says) for line in found), found
    assert all(line.startswith("configuration: ") for line in found)


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
        ("simclr/weights", "no/such.pth", "simclr.weights: no such file"),
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


def test_an_overlay_in_the_place_of_config_yaml_is_refused_in_one_line(schemas):
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
    config["loops"]["decoders"]["perceptual"] = "lpips-alex"
    check(changed(config, path, WEIGHTS[path]), schemas)
    check(changed(config, path, f"https://example.org/net.pth#sha256={'0' * 64}"), schemas)
    lines = faults(changed(config, path, "https://example.org/net.pth"), schemas)
    assert any(path.replace("/", ".") in line and "needs its SHA-256" in line for line in lines)


def test_weights_that_exist_are_accepted(config, schemas, tmp_path):
    weights = tmp_path / "alexnet.pth"
    weights.write_bytes(bytes.fromhex("80028a0a6cfc9c46f9206aa85019"))  # how a file of torch.save may begin
    config["loops"]["decoders"] |= {"perceptual": "lpips-alex", "lpips_weights": str(weights)}
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


def test_an_extension_is_refused_of_nothing_of_itself_and_of_an_ensemble(config, schemas):
    config["experiments"] |= {
        "of-nothing": {"extends": "loopd"},
        "one": {"extends": "other"},
        "other": {"extends": "one"},
        "of-several": {"extends": "advent-ensemble"},
    }
    found = "\n".join(faults(config, schemas))
    assert "experiments.of-nothing.extends: no experiment 'loopd'; similar names: loopda" in found
    assert "if another file has it, name the file after --configfile" in found
    assert "experiments.one.extends: one extends other extends one" in found
    assert "experiments.of-several.extends: advent-ensemble is an ensemble" in found
