"""The worked example of CONTRIBUTING.md does what the page says: its blocks make a method that trains."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from loopda.pipeline import experiments
from loopda.pipeline.checking import check

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def blocks(root) -> dict[str, list[str]]:
    """The page's blocks of code, by language."""
    found = re.findall(r"^```(\w+)\n(.*?)^```$", (root / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE | re.DOTALL)
    return {language: [text for name, text in found if name == language] for language, _ in found}


@pytest.fixture(scope="module")
def checkout(root, blocks, tmp_path_factory) -> Path:
    """A copy of the package with the example in it: its file, its line in the table, and its module's import."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(root / "loopda", folder / "loopda", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "pyproject.toml", folder)
    file, line = blocks["python"]
    (folder / "loopda/methods/coral.py").write_text(file)
    stage = folder / "loopda/stages/adapt.py"
    text = stage.read_text()
    for before, added in (("from loopda.methods.method import", "from loopda.methods import coral\n"), ("}\n", line)):
        place = text.index(before, text.index("METHODS:") if before == "}\n" else 0)
        text = text[:place] + added + text[place:]
    stage.write_text(text)
    return folder


@pytest.fixture(scope="module")
def python(checkout) -> Callable[..., str]:
    """Run Python on the copy; what it prints."""

    def run(*words: object) -> str:
        process = subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=checkout,
            env=os.environ | {"PYTHONPATH": str(checkout)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stderr[-4000:]
        return process.stdout

    return run


def test_the_example_passes_the_check_and_trains(miniature, blocks, python, tmp_path):
    (overlay,) = map(yaml.safe_load, blocks["yaml"])
    config = experiments.merged(miniature.config, overlay)
    check(config, json.loads(python("-m", "loopda.pipeline.schema")))

    section = experiments.section(config, "coral", "adapt")
    smoke = experiments.section(config, "smoke", "adapt")
    (tmp_path / "coral.yaml").write_text(experiments.as_yaml(smoke | {"method": section["method"]}))
    arguments = miniature.arguments("adapt", tmp_path / "coral", config=tmp_path / "coral.yaml")
    python("-m", "loopda.stages.adapt", *(word for name, value in arguments.items() for word in (f"--{name}", value)))
    records = [json.loads(line) for line in (tmp_path / "coral/metrics.jsonl").read_text().splitlines()]
    assert records[-1]["step"] == smoke["steps"]
    assert all(record["coral"] > 0 for record in records)
    assert (tmp_path / "coral/model.pt").exists()


def test_the_loss_of_the_example_is_the_distance_of_the_covariances(blocks):
    torch.manual_seed(0)
    namespace: dict = {}
    exec(compile(blocks["python"][0], "CONTRIBUTING.md", "exec"), namespace)
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
    named = re.findall(r"`((?:loopda|tests)/[\w/]+(?:\.py)?)", (root / "CONTRIBUTING.md").read_text())
    assert named
    assert [path for path in named if not (root / path).exists()] == ["loopda/methods/coral.py"]
