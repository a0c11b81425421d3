"""The page CONTRIBUTING.md: its example of a method trains, and what it says of files and layers is so."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
import worked_examples
import yaml

from loopda.pipeline import experiments
from loopda.pipeline.checking import check

BIN = Path(sys.executable).parent
BLOCKS = worked_examples.blocks("A method")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of the package with the example in it: its file, its line in the table, and its module's import."""
    folder = worked_examples.copy_project(tmp_path_factory.mktemp("checkout"), "loopda", "pyproject.toml")
    file, imported, line = BLOCKS["python"]
    (folder / "loopda/methods/coral.py").write_text(file)
    stage = folder / "loopda/stages/adapt.py"
    worked_examples.insert(stage, "from loopda.methods.cycada import", imported)
    worked_examples.insert(stage, "}\n", line, after="METHODS:")
    return folder


def test_the_example_passes_the_check_and_trains(miniature, checkout, tmp_path):
    (overlay,) = map(yaml.safe_load, BLOCKS["yaml"])
    config = experiments.merged(miniature.config, overlay)
    check(config, json.loads(worked_examples.run_in(checkout, "-m", "loopda.pipeline.schema")))

    section = experiments.section(config, "coral", "adapt")
    smoke = experiments.section(config, "smoke", "adapt")
    (tmp_path / "coral.yaml").write_text(experiments.as_yaml(smoke | {"method": section["method"]}))
    arguments = miniature.arguments("adapt", tmp_path / "coral", config=tmp_path / "coral.yaml")
    flags = [word for name, value in arguments.items() for word in (f"--{name}", value)]
    worked_examples.run_in(checkout, "-m", "loopda.stages.adapt", *flags)
    records = [json.loads(line) for line in (tmp_path / "coral/metrics.jsonl").read_text().splitlines()]
    assert records[-1]["step"] == smoke["steps"]
    assert all(record["coral"] > 0 for record in records)
    assert (tmp_path / "coral/model.pt").exists()


def test_the_loss_of_the_example_is_the_distance_of_the_covariances():
    torch.manual_seed(0)
    namespace: dict = {}
    exec(compile(BLOCKS["python"][0], "CONTRIBUTING.md", "exec"), namespace)
    source, target = torch.randn(2, 3, 4, 5), torch.randn(3, 3, 2, 2)
    total = 0.0
    for i in range(3):
        for j in range(3):
            covariances = []
            for features in (source, target):
                a, b = features[:, i].flatten().tolist(), features[:, j].flatten().tolist()
                mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
                products = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
                covariances.append(products / (len(a) - 1))
            total += (covariances[0] - covariances[1]) ** 2
    found = namespace["covariance_distance"](source=source, target=target)
    assert found.item() == pytest.approx(total / (4 * 3**2), rel=1e-4)


@pytest.mark.parametrize("words", [["check"], ["format", "--check"]], ids=" ".join)
def test_the_example_keeps_the_house_style(checkout, words):
    command = [BIN / "ruff", *words, "--no-cache", "loopda/methods/coral.py"]
    process = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr


def test_the_files_that_the_page_names_exist(root):
    named = re.findall(r"`((?:loopda|tests)/[\w/]+(?:\.py)?)", worked_examples.page())
    assert named
    missing = [path for path in named if not (root / path).exists()]
    assert missing == ["loopda/methods/coral.py", "loopda/stages/refine.py"]


def test_the_layers_and_the_map_of_the_page_are_those_of_the_package(root):
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    (text,) = worked_examples.blocks("The repository")["text"]
    assert text.splitlines() == [layer.replace("loopda.", "") for layer in layers]

    named = set(re.findall(r"`loopda/(\w+)(?:\.py|/)", worked_examples.page().partition("```")[0]))
    parts = {path.stem for path in (root / "loopda").glob("[a-z]*") if path.suffix == ".py" or path.is_dir()}
    assert named == parts
