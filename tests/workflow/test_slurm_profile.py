"""The profile for SLURM names every rule that needs it, and Snakemake understands it without a cluster."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

BIN = Path(sys.executable).parent
PROFILE = "workflow/profiles/slurm"


@pytest.fixture(scope="module")
def resources(root) -> dict[str, dict[str, int]]:
    """The section set-resources of the profile."""
    return yaml.safe_load((root / PROFILE / "config.yaml").read_text())["set-resources"]


@pytest.fixture(scope="module")
def rules(root) -> dict[str, str]:
    """The text of every rule, by its name."""
    files = [root / "Snakefile", *(root / "workflow/rules").glob("*.smk")]
    parts = [re.split(r"^rule (\w+):$", path.read_text(), flags=re.MULTILINE) for path in files]
    return {name: text for part in parts for name, text in zip(part[1::2], part[2::2], strict=True)}


def test_every_rule_on_a_gpu_has_its_own_time_and_memory(resources, rules):
    on_gpu = {name for name, text in rules.items() if "gpu=" in text}
    assert "warmup" in on_gpu
    assert {name for name, values in resources.items() if {"runtime", "mem_mb"} <= values.keys()} >= on_gpu


def test_every_rule_that_it_names_exists(resources, rules):
    assert resources.keys() <= rules.keys()


@pytest.mark.workflow
def test_a_dry_run_gives_every_job_its_resources_and_a_signal_ahead_of_its_limit(root, resources, tmp_path):
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="pip install '.[slurm]'")
    shutil.copy(root / "config.yaml", tmp_path)
    process = subprocess.run(
        [BIN / "snakemake", "--dry-run", "--workflow-profile", root / PROFILE, "--snakefile", root / "Snakefile"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    jobs = dict(re.findall(r"^rule (\w+):\n(?:    .*\n)*?    resources: (.*)", process.stdout, flags=re.MULTILINE))
    assert {"town", "warmup", "report"} <= jobs.keys()
    assert all("slurm_extra=--signal=TERM@180" in given for given in jobs.values())
    for rule in ("warmup", "evaluate"):
        assert f"mem_mb={resources[rule]['mem_mb']}," in jobs[rule]
        assert f"runtime={resources[rule]['runtime']}," in jobs[rule]
        assert "gpu=1" in jobs[rule]
    assert "runtime=60," in jobs["town"]
