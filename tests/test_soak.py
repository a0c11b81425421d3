"""A short soak: the first stages of the miniature pipeline, interrupted three times."""

import subprocess
import sys

import pytest
from miniature import ROOT


@pytest.mark.fault(38, "the pipeline ends with the bytes of an undisturbed run")
def test_a_pipeline_interrupted_at_random_ends_with_the_files_of_an_undisturbed_one():
    words = ["-m", "tests.soak", "--interruptions", "3", "--seed", "1", "--last", "warmup"]
    process = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stdout.startswith("seed 1; ")
    assert ": 0 differences" in process.stdout.splitlines()[-1]
