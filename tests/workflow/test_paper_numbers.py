"""No number under a paper's name comes from the town: the overlays say each one that a run of them reads."""

import copy

import pytest
import yaml

from loopda.models.segmenter import _NETWORKS
from loopda.pipeline import experiments

FILES = ("paper.yaml", "paper-methods.yaml")
TOWNS = "the town's"

# what is no paper's business, by the path in the stage's resolved section, with the reason
OURS = {
    "compute.": "how the networks compute, not what: precision, memory, reproducibility, skipped steps",
    "translate.pictures": "rows of a contact sheet",
    "pair.": "off: Dark Zurich has references",
    "convert.": "no stage of these experiments",
    "submission.size": "empty: that of training",
    "submission.tile": "empty: the whole image",
    "submission.overlap": "of tiles, of which there are none",
}
# with weights to import, `simclr` trains nothing (loopda/stages/simclr.py)
IMPORTED = ("steps", "batch_size", "view", "temperature", "projection", "lr", "warmup_steps")


@pytest.fixture(scope="module")
def base(root):
    return yaml.safe_load((root / "config.yaml").read_text())


@pytest.fixture(scope="module")
def overlays(root):
    files = [yaml.safe_load((root / "workflow/config" / name).read_text()) for name in FILES]
    return {name: its for file in files for name, its in file["experiments"].items()}


def marked(values):
    """`values` with every leaf replaced by the mark, and lists with them."""
    return {key: marked(value) for key, value in values.items()} if isinstance(values, dict) else TOWNS


def leaves(values, path=""):
    if isinstance(values, dict):
        return [leaf for key, value in values.items() for leaf in leaves(value, f"{path}.{key}" if path else key)]
    return [(path, values)]


def unsaid(base, overlays, experiment):
    """The keys, `stage.path`, of what `experiment` reads and the overlays do not say."""
    config = copy.deepcopy(base) | {"experiments": overlays}
    plain = {**config, **{key: marked(config[key]) for key in experiments.SECTIONS - experiments.SETTINGS}}
    plain["adapt"] = plain["adapt"] | {"method": config["adapt"]["method"]}  # names a section
    plain["pair"] = config["pair"]
    named = experiments.section(config, experiment, "prepare")  # without sets that are the town's alone
    plain["data"] = {key: value for key, value in plain["data"].items() if key in named}
    found = set()
    for model in experiments.model_stages(config, experiment):
        its = experiments.ancestry(config, experiment, model) | {"evaluate", "submission"}
        for stage in its - {"town"}:
            section = experiments.section(plain, experiment, stage)
            alien = _NETWORKS[experiments.section(config, experiment, "pretrain")["network"]["name"]][1]
            found |= {
                f"{stage}.{path}"
                for path, value in leaves(section)
                if value == TOWNS
                and not any(f"{stage}.{path}".startswith(key) or path.startswith(key) for key in OURS)
                and not (stage == "simclr" and path in IMPORTED)
                and not (path.startswith("network.") and path.removeprefix("network.") in alien)
            }
    return found


def experiments_of(root):
    files = [yaml.safe_load((root / "workflow/config" / name).read_text()) for name in FILES]
    return [name for file in files for name, its in file["experiments"].items() if "ensemble" not in its]


def test_there_is_no_number_of_the_towns_in_any_experiment_of_the_papers(base, overlays, root):
    found = {name: sorted(unsaid(base, overlays, name)) for name in experiments_of(root)}
    assert {name: keys for name, keys in found.items() if keys} == {}


@pytest.mark.parametrize(
    ("experiment", "stage", "path"),
    [
        ("paper-cycada", "translate", ("weights", "cycle")),
        ("paper-cycada", "adapt", ("cycada", "alignment_optimizer")),
        ("paper-daformer", "adapt", ("daformer", "feature_weights")),
        ("paper", "warmup", ("decoder_warmup",)),
    ],
)
def test_a_number_that_is_left_out_is_found(base, overlays, experiment, stage, path):
    changed = copy.deepcopy(overlays)
    owner = "paper" if experiment == "paper" else "paper-longer"
    section = changed[owner]["methods" if path[0] in base["methods"] else stage]
    for key in path[:-1]:
        section = section[key]
    del section[path[-1]]
    assert any(key.endswith(path[-1]) or f".{path[-1]}." in key for key in unsaid(base, changed, experiment))


def test_each_number_of_the_methods_names_its_source(root):
    """A bracket stands on the line of every number, or on the comment lines above its mapping."""
    lines = (root / "workflow/config/paper-methods.yaml").read_text().splitlines()
    begin = next(place for place, line in enumerate(lines) if line.startswith("experiments:"))
    for place, line in enumerate(lines[begin + 1 :], start=begin + 1):
        code, _, _ = line.partition("#")
        if any(sign.isdigit() for sign in code.partition(":")[2]) and "extends" not in code:
            near = "\n".join(lines[max(place - 4, 0) : place + 1])
            assert "[" in near.replace(code, ""), line


def test_the_numbers_are_those_of_the_papers(base, overlays):
    """Read in the papers and their authors' code by the tests' author, not copied from the overlay."""
    config = base | {"experiments": overlays}
    translate = experiments.section(config, "paper-cycada", "translate")
    assert translate["weights"] == {"adversarial": 1.0, "cycle": 10.0, "identity": 0.0, "semantic": 0.0}
    assert translate["input"] == {"size": [1024, 576], "source_size": [1024, 512], "crop": [400, 400]}
    adapt = experiments.section(config, "paper-cycada", "adapt")
    aligned = adapt["method"]["alignment_optimizer"]
    assert (aligned["name"], aligned["lr"], aligned["momentum"]) == ("sgd", 1e-5, 0.99)
    its = adapt["method"]["discriminator_optimizer"]
    assert (its["name"], its["lr"], its["momentum"]) == ("sgd", 1e-5, 0.99)
    assert adapt["method"]["stop_after"] == 2975 // adapt["batch_size"] + 1
    assert (adapt["optimizer"]["lr"], adapt["optimizer"]["momentum"]) == (1e-3, 0.9)
    for name, weights in (("paper-daformer", "deeplab-init-imagenet"), ("daformer-b5", "mit-b5")):
        daformer = experiments.section(config, name, "adapt")["method"]
        assert daformer["feature_weights"] == weights
        assert round(daformer["rare_pixels"] * 2048 * 1024) == 3000
        assert round(daformer["rare_crop_pixels"] * 1024 * 512) == 1500
        assert (daformer["ignore_top"] * 512, daformer["ignore_bottom"] * 512) == (15, 120)
