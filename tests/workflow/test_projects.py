"""What the real snakemake does with projects that came from elsewhere, without its own records."""

import copy
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from loopda.pipeline.jobs import Jobs
from loopda.runtime.provenance import write_record
from loopda.status import read_config

pytestmark = pytest.mark.workflow

SNAKEMAKE = Path(sys.executable).parent / "snakemake"
MINE = {
    "run": ["mine"],
    "experiments": {
        "mine": {
            "until": "pretrain",
            "data": {
                name: {"layout": "folder", "root": "d", "images": "*.png", **labels}
                for name, labels in (("source", {"labels": "{stem}.png", "encoding": "labelIds"}), ("night", {}))
            },
        }
    },
}


@pytest.fixture
def project(tmp_path, root, monkeypatch) -> Path:
    """A folder in which all results of an experiment lie, with their records, but without Snakemake's."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(root / "config.yaml", "config.yaml")
    Path("mine.yaml").write_text(yaml.safe_dump(MINE))
    jobs = Jobs(read_config([Path("mine.yaml")]))
    for job in jobs.with_ancestors(jobs.of_target("all")):
        for name in (*job.files, job.config):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(jobs.section_text(job) if name == job.config else name)
        write_record(Path(job.recorded), [Path(job.config), *map(Path, job.files)])
        if job.stage == "prepare":
            Path(job.folder, "checked").touch()
    for path in Path("results").rglob("*"):
        os.utime(path, (1_800_000_000, 1_800_000_000))
    return tmp_path


def dry_run(root: Path, *targets: str) -> str:
    """What `snakemake -n` prints."""
    command = [
        SNAKEMAKE,
        *targets,
        "-n",
        "--cores",
        "1",
        "--snakefile",
        root / "Snakefile",
        "--configfile",
        "mine.yaml",
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout


def rules_of(output: str) -> set[str]:
    """The rules of which a dry run lists jobs."""
    return set(re.findall(r"^(?:local)?rule (\w+):$", output, flags=re.MULTILINE))


@pytest.mark.fault(96, "a number changed in a copy without Snakemake's records: its stage runs, and those behind")
def test_a_changed_number_runs_its_stage_where_snakemake_has_no_record(project, root):
    assert "Nothing to be done" in dry_run(root)
    (project / "mine.yaml").write_text(yaml.safe_dump(MINE).replace("until:", "pretrain: {steps: 7}\n    until:"))
    rules = rules_of(dry_run(root))
    assert {"configure", "pretrain", "evaluate", "report"} <= rules
    assert not rules & {"manifest", "prepare"}


@pytest.mark.fault(94, "a page that is asked for after a change of the data is made by the same call that checks them")
def test_a_target_is_made_by_the_call_that_checks_changed_data(project, root):
    changed = {**copy.deepcopy(MINE), "compare": ["mine"], "table_seeds": [0]}
    changed["experiments"]["mine"]["data"]["day"] = {"layout": "folder", "root": "d", "images": "*.png"}
    (project / "mine.yaml").write_text(yaml.safe_dump(changed))
    rules = rules_of(dry_run(root, "compare"))
    assert {"prepare", "compare"} <= rules
    assert "pretrain" not in rules
