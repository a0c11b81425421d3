"""The paper's experiment on miniatures of its data sets: its whole DAG, and one model from images to scores."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import public_trees as trees
import pytest
import yaml

pytestmark = pytest.mark.workflow

BIN = Path(sys.executable).parent

TINY = {  # of the network and of the steps; everything else is the paper's
    "input": {"size": [32, 16], "source_size": [48, 24], "crop": [24, 16]},
    "network": {"blocks": [1, 1, 1, 1], "width": 4, "head_channels": 8},
    "pretrain": {"weights": "", "steps": 2},
}


@pytest.fixture
def home(tmp_path, root) -> Path:
    """A working folder with config.yaml, and the data sets where paper.yaml does not expect them."""
    shutil.copy(root / "config.yaml", tmp_path)
    trees.cityscapes(tmp_path / "sets/city", "train")
    trees.cityscapes(tmp_path / "sets/city", "val")
    trees.dark_zurich(tmp_path / "sets/zurich")
    trees.nighttime_driving(tmp_path / "sets/driving")
    return tmp_path


@pytest.fixture
def snakemake(home, root):
    """A function that runs snakemake with paper.yaml, the roots of the miniatures, and a change; (code, output)."""

    def run(*arguments: str, change: dict[str, Any] | None = None) -> tuple[int, str]:
        data = {name: {"root": "sets/city"} for name in ("source", "day_val")}
        data |= {name: {"root": "sets/zurich"} for name in ("night", "night_val")}
        data["night_tests"] = {"nighttime-driving": {"root": "sets/driving"}}
        roots = {"data": data, "submission": {"root": "sets/zurich"}}
        files = {"roots.yaml": roots, "change.yaml": change or {}}
        for name, overlay in files.items():
            (home / name).write_text(yaml.safe_dump({"device": "cpu", "experiments": {"paper": overlay}}))
        command = [BIN / "snakemake", *arguments, "--cores", "1", "--resources", "gpu=1", "--directory", home]
        command += ["--snakefile", root / "Snakefile", "--configfile", root / "workflow/config/paper.yaml"]
        process = subprocess.run(
            [*map(str, command), *(str(home / name) for name in files)],
            cwd=home,
            env={
                **os.environ,
                "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
                "OMP_NUM_THREADS": "1",
                "XDG_CACHE_HOME": str(home / "cache"),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        return process.returncode, process.stdout + process.stderr

    return run


def test_a_dry_run_walks_the_whole_experiment(snakemake):
    code, output = snakemake("--dry-run")
    assert code == 0, output
    jobs = Counter(re.findall(r"^(?:local)?rule (\w+):$", output, flags=re.MULTILINE))
    once = ("prepare", "pretrain", "warmup", "pseudo_labels", "self_train", "simclr", "distill", "illustrate", "report")
    assert {name: jobs[name] for name in once} == dict.fromkeys(once, 1)
    assert (jobs["evaluate"], jobs["submission"], jobs["town"]) == (4, 2, 0)
    made = set(re.findall(r"results/submission/\S+\.zip", output))
    assert made == {f"results/submission/paper/seed0/{stage}.zip" for stage in ("self_train", "distill")}
    further = r"input: .*results/manifest/paper/night_tests/nighttime-driving\.csv.*\n +output: results/evaluate/"
    assert len(re.findall(further, output)) == 4


def test_a_model_is_trained_and_scored_on_every_set_by_both_protocols(snakemake, home):
    code, output = snakemake("results/evaluate/paper/seed0/pretrain.json", change=TINY)
    assert code == 0, output[-4000:]
    domains = json.loads((home / "results/evaluate/paper/seed0/pretrain.json").read_text())["domains"]
    seen, own = (32, 16), [f"{trees.WIDTH}x{trees.HEIGHT}"]
    expected = {"night": (*seen, []), "night-full": (*seen, own), "day": (48, 24, [])}
    expected |= {"nighttime-driving": (*seen, []), "nighttime-driving-full": (*seen, own)}
    protocols = {name: domain["protocol"] for name, domain in domains.items()}
    assert {name: (its["width"], its["height"], its["scored_at"]) for name, its in protocols.items()} == expected
    assert all(its["images"] == 5 and its["upsampling"].startswith("logits") for its in protocols.values())
    assert {its["normalisation"] for its in protocols.values()} == {"shared statistics"}


def test_a_damaged_image_of_a_further_set_ends_the_run_before_anything_trains(snakemake, home):
    image = next((home / "sets/driving").rglob("*_leftImg8bit.png"))
    whole = image.read_bytes()
    image.write_bytes(whole[:99])
    try:
        code, output = snakemake("results/pretrain/paper/seed0/model.pt", "--forceall", change=TINY)
    finally:
        image.write_bytes(whole)
    assert code != 0
    assert re.search(rf"nighttime-driving: image \S*{image.name}: damaged image", output), output[-4000:]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"evaluate": {"full_size": ["acdc"]}},
            "evaluate.full_size: no set 'acdc' to measure on; the sets are night, day, nighttime-",
        ),
        ({"data": {"night_tests": {"day": {"layout": "table", "csv": "x.csv"}}}}, "the name 'day' is taken"),
    ],
    ids=["unknown set", "taken name"],
)
def test_a_wrong_name_of_a_set_ends_before_any_job(snakemake, change, says):
    code, output = snakemake("--dry-run", change=change)
    assert code != 0
    assert says in output
    assert "rule " not in output


def test_the_steps_of_the_real_network_can_be_measured(root):
    """A training of the true ResNet-101 on tiny images; docs/lab-notes.md has the figures of the paper's sizes."""
    script = root / "scripts/measure_paper_steps.py"
    small = ["--crop", "32x32", "--size", "48x32", "--stages", "pretrain", "--threads", "1"]
    process = subprocess.run([sys.executable, script, *small], cwd=root, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr[-4000:]
    pattern = r"pretrain: \d+ s in all, peak \d+\.\d GiB, \d+\.\d s a step of batch 2, crop 32x32"
    assert re.search(pattern, process.stdout), process.stdout
