"""A new stage is one entry in the table, one file, one rule and its section: everything else finds it there."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from fabricated_results import plain_evaluation

pytestmark = pytest.mark.workflow

ENTRY = """\
    Stage(
        "refine",
        title="refinement",
        parents=("distill",),
        sections=("input", "compute"),
        sets=("source", "night"),
        outputs=("model.pt", "metrics.jsonl"),
        trains=True,
        makes_model=True,
        distributed=True,
    ),
"""
FILE = '''\
"""Stage `refine`."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from loopda.config import Section
from loopda.runtime.command import command


class Config(Section):
    input: dict[str, Any]
    compute: dict[str, Any]
    steps: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]


def run(*, config: Config, distilled: Path, model: Path, metrics: Path, seed: int, log: Path) -> None:
    raise NotImplementedError


if __name__ == "__main__":
    command(run)
'''
RULE = '''

rule refine:
    """Train the distilled model further."""
    input:
        when_checked,
        config="results/refine/{experiment}/seed{seed}/config.yaml",
        distilled=upstream("distill", "model.pt"),
        source=manifest("source"),
        night=manifest("night"),
    output:
        model="results/refine/{experiment}/seed{seed}/model.pt",
        metrics="results/refine/{experiment}/seed{seed}/metrics.jsonl",
    log:
        "logs/refine/{experiment}/seed{seed}.log",
    benchmark:
        "benchmarks/refine/{experiment}/seed{seed}.tsv"
    shell:
        "{launch[refine]}python -m loopda.stages.refine --config {input.config:q} --distilled {input.distilled:q}"
        " --model {output.model:q} --metrics {output.metrics:q} --seed {wildcards.seed} --log {log:q}"
'''
MINE = {
    "run": ["refined"],
    "processes": {"default": 1, "refine": 2},
    "experiments": {"refined": {"until": "refine", "refine": {"steps": 7}}},
}
JOB = "results/refine/refined/seed0"


@pytest.fixture(scope="module")
def checkout(root, tmp_path_factory) -> Path:
    """A copy of the project with the stage in it."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("loopda", "workflow"):
        shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "Snakefile", folder)
    table = folder / "loopda/pipeline/stages.py"
    before, behind = table.read_text().split("\n)\nSTAGES")
    table.write_text(f"{before}\n{ENTRY})\nSTAGES{behind}")
    (folder / "loopda/stages/refine.py").write_text(FILE)
    with open(folder / "workflow/rules/loopda.smk", "a") as rules:
        rules.write(RULE)
    section = "\nrefine: {steps: 3, batch_size: 4}\n"
    (folder / "config.yaml").write_text((root / "config.yaml").read_text() + section)
    (folder / "mine.yaml").write_text(yaml.safe_dump(MINE))
    return folder


@pytest.fixture(scope="module")
def python(checkout) -> Callable[..., str]:
    """Run Python in the copy, with its package; what it prints. The schema of the copy is made anew first."""

    def run(*words: object) -> str:
        process = subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=checkout,
            env=os.environ | {"PYTHONPATH": str(checkout)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stdout[-2000:] + process.stderr[-4000:]
        return process.stdout

    schema = run("-m", "loopda.pipeline.schema")
    (checkout / "loopda/pipeline/config.schema.json").write_text(schema)
    return run


def test_the_status_lists_its_jobs_and_snakemake_plans_them(python, checkout):
    found = json.loads(python("-m", "loopda.status", "refined", "--json", "--configfile", "mine.yaml"))
    assert [one["experiment"] for one in found if one["stage"] == "refine"] == ["refined"]
    waits = {(one["stage"], one["model"]): one["waits_for"] for one in found}
    assert waits["refine", ""] == ["distill/loopda/seed0"]
    assert waits["evaluate", "refine"][0] == "refine/refined/seed0"

    words = ("-m", "snakemake", "-n", "-p", "--cores", "1", "--configfile", "mine.yaml")
    printed = python(*words)
    planned = set(re.findall(r"^    output: (\S+?),?(?:\s|$)", printed, flags=re.MULTILINE))
    # but for what `configure` and `checked` write, the jobs of the status and those of Snakemake are the same
    rules = set(re.findall(r"^(?:local)?rule (\w+):$", printed, flags=re.MULTILINE)) - {"all", "configure", "checked"}
    assert rules == {one["stage"] for one in found} | {"illustrate", "report"}
    assert {f"{JOB}/model.pt", f"{JOB}/config.yaml", "results/evaluate/refined/seed0/refine.json"} <= planned
    assert re.search(r"torchrun .*--nproc-per-node 2 .*python -m loopda\.stages\.refine", printed)
    (report,) = re.findall(r"^rule report:\n    input: (.*)$", printed, flags=re.MULTILINE)
    assert {f"{JOB}/metrics.jsonl", f"{JOB}/config.yaml"} <= set(report.split(", "))


def test_its_section_is_resolved_checked_and_may_be_changed_by_an_experiment(python, checkout):
    print_section = (
        "print(experiments.as_yaml(experiments.section(read_config([Path('mine.yaml')]), 'refined', 'refine')))"
    )
    imports = (
        "from pathlib import Path; from loopda.pipeline import experiments; from loopda.status import read_config;"
    )
    section = yaml.safe_load(python("-c", f"{imports} {print_section}"))
    assert (section["steps"], section["batch_size"]) == (7, 4)
    assert section.keys() == {"input", "compute", "steps", "batch_size"}
    (checkout / "wrong.yaml").write_text("refine: {steps: 0}\n")
    process = subprocess.run(
        [sys.executable, "-m", "loopda.status", "--configfile", "wrong.yaml"],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 2
    assert "configuration: refine.steps: 0 is less than the minimum of 1" in process.stderr


def test_the_report_shows_it_under_its_title_in_the_order_of_the_pipeline(python, tmp_path):
    stages = ("refine", "distill", "pretrain")
    scores = [plain_evaluation(tmp_path, "refined", 0, stage, 40 + len(stage), 60) for stage in stages]
    metrics = [tmp_path / f"results/{stage}/refined/seed0/metrics.jsonl" for stage in stages]
    for path in metrics:
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps({"step": step, "loss": 1 / step}) + "\n" for step in (1, 2, 3)))
    (tmp_path / "config.yaml").write_text("{}\n")
    page, table = tmp_path / "report.html", tmp_path / "table.txt"
    python(
        *(
            "-m",
            "loopda.stages.report",
            "--config",
            tmp_path / "config.yaml",
            "--scores",
            *scores,
            "--metrics",
            *metrics,
        ),
        *("--pictures", "--sections", "--page", page, "--table", table, "--log", tmp_path / "log"),
    )
    titles = ["source-only", "distillation", "refinement"]
    assert [title for line in table.read_text().splitlines() for title in titles if line.startswith(title)] == titles
    assert re.findall(r"<h3>(Source-only|Distillation|Refinement)", page.read_text())[-3:] == [
        title.capitalize() for title in titles
    ]
