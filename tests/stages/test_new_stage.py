"""A new stage is one entry in the table, one file, one rule and its section: everything else finds it there.

The stage is the example of CONTRIBUTING.md.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import worked_examples
import yaml
from fabricated_results import plain_evaluation

from loopda.pipeline import experiments

pytestmark = pytest.mark.workflow

BIN = Path(sys.executable).parent
BLOCKS = worked_examples.blocks("A stage")
MINE = {
    "run": ["refined"],
    "processes": {"default": 1, "refine": 2},
    "experiments": {"refined": {"refine": {"steps": 7}}},
}
JOB = "results/refine/refined/seed0"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of the project with the stage in it, and its schema."""
    names = ("loopda", "workflow", "Snakefile", "config.yaml", "pyproject.toml")
    folder = worked_examples.copy_project(tmp_path_factory.mktemp("checkout"), *names)
    entry, file = BLOCKS["python"]
    worked_examples.insert(folder / "loopda/pipeline/stages.py", ")\nSTAGES", entry)
    (folder / "loopda/stages/refine.py").write_text(file)
    (rule,) = BLOCKS["snakemake"]
    with open(folder / "workflow/rules/loopda.smk", "a") as rules:
        rules.write(f"\n\n{rule}")
    (settings,) = BLOCKS["yaml"]
    section, experiment = settings.split("\nexperiments:\n")
    with open(folder / "config.yaml", "a") as config:  # which ends with its experiments
        config.write(f"{experiment}\n{section}")
    (folder / "mine.yaml").write_text(yaml.safe_dump(MINE))
    schema = worked_examples.run_in(folder, "-m", "loopda.pipeline.schema")
    (folder / "loopda/pipeline/config.schema.json").write_text(schema)
    return folder


@pytest.fixture(scope="module")
def python(checkout) -> Callable[..., str]:
    """Run Python on the copy; what it prints."""
    return partial(worked_examples.run_in, checkout)


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
    script = """
from pathlib import Path
from loopda.pipeline import experiments
from loopda.status import read_config
print(experiments.as_yaml(experiments.section(read_config([Path("mine.yaml")]), "refined", "refine")))
"""
    section = yaml.safe_load(python("-c", script))
    assert (section["steps"], section["batch_size"]) == (7, 4)
    assert section.keys() == {"input", "compute", "steps", "batch_size", "entropy", "optimizer"}
    (checkout / "wrong.yaml").write_text("refine: {steps: 0}\n")
    message = python("-m", "loopda.status", "--configfile", "wrong.yaml", code=2)
    assert "configuration: refine.steps: 0 is less than the minimum of 1" in message


def test_it_trains(python, miniature, tmp_path):
    (settings,) = BLOCKS["yaml"]
    smoke = experiments.section(miniature.config, "smoke", "distill")
    section = {name: smoke[name] for name in ("input", "compute")} | yaml.safe_load(settings)["refine"]
    section |= {"steps": 2, "batch_size": 2}
    config, out = tmp_path / "refine.yaml", tmp_path / "refine"
    config.write_text(experiments.as_yaml(section))
    files = {name: miniature.path("prepare", f"{name}.csv") for name in ("source", "night")}
    files |= {"classes": miniature.path("prepare", "classes.json"), "distilled": miniature.path("distill", "model.pt")}
    files |= {"model": out / "model.pt", "metrics": out / "metrics.jsonl", "log": tmp_path / "refine.log"}
    arguments = {"config": config, **files, "seed": 0, "device": "cpu", "threads": 1}
    python("-m", "loopda.stages.refine", *(word for name, value in arguments.items() for word in (f"--{name}", value)))
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert records[-1]["step"] == 2
    assert all(0 < record["entropy_n"] <= 1 for record in records)
    assert (out / "model.pt").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["ruff", "check", "--no-cache", "loopda/stages/refine.py"],
        ["ruff", "format", "--no-cache", "--check", "loopda/stages/refine.py", "loopda/pipeline/stages.py"],
        ["snakefmt", "--check", "workflow/rules/loopda.smk"],
        ["lint-imports", "--no-cache"],
    ],
    ids=" ".join,
)
def test_it_keeps_the_house_style(checkout, words):
    process = subprocess.run([BIN / words[0], *words[1:]], cwd=checkout, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr


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
