"""A SLURM node of two GPUs: two jobs never see the same one, and two processes that share a job do what one does."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from cluster import Cluster, wait_for
from pipeline import SECONDS, SEED, Held, Workflow
from several_processes import largest_difference, recorded_losses

from loopda.models.checkpoint import load_checkpoint

pytestmark = pytest.mark.slurm

# a training is in double precision and notes its losses; each of its processes waits in the first step for a file
NOTE = """
sys.path.insert(0, {tests!r})
from several_processes import in_double_precision, record_losses

name = stage + "-" + os.environ.get("RANK", "0")
in_double_precision()
record_losses(markers / (name + ".jsonl"), lambda step: step > 1 or held(name, (markers / "go.on").exists))
"""


class Run(NamedTuple):
    """A run on the cluster. held: its processes, at work at once. reason: why a job for one GPU waited at that time."""

    workflow: Workflow
    held: dict[str, Held]
    reason: str

    def losses(self, process: str) -> list[dict[str, float]]:
        """What a process, stage-rank, recorded in each step."""
        return recorded_losses(self.workflow.folder / "markers" / f"{process}.jsonl")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory, say) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("slurm") / "cluster", gpus=2) as cluster:
        say("a cluster of two GPUs is up")
        yield cluster
    say("the cluster of two GPUs is down")


@pytest.fixture(scope="module")
def runs(slurm, profile, tmp_path_factory, root, miniature_town, say) -> Callable[..., Run]:
    """A function that has the cluster run `stages` after pretraining, which is done here, once."""
    begun = Workflow(tmp_path_factory.mktemp("begun") / "run", root, miniature_town, dict(os.environ))
    first = begun.start(f"results/pretrain/{SEED}/model.pt", "--cores", "1", "--resources", "gpu=1")
    assert first.wait(SECONDS) == 0, begun.printed()[-4000:]

    def run(*stages: str, **changes: Any) -> Run:
        folder = tmp_path_factory.mktemp("run") / "run"
        workflow = Workflow(folder, root, miniature_town, slurm.environment, **changes)
        shutil.copytree(begun.folder / "results", folder / "results")
        workflow.replace_python(NOTE.format(tests=str(root / "tests")))
        targets = [f"results/{stage}/{SEED}/model.pt" for stage in stages]
        process = workflow.start("--workflow-profile", str(profile), *targets)
        wait_for(lambda: len(workflow.held()) == 2 or process.poll() is not None, "two processes at work")
        say(f"{', '.join(f'{name} in job {each.job} sees {each.gpus}' for name, each in workflow.held().items())}")
        other = slurm.call("sbatch", "--parsable", "--gpus=1", "--mem=1", "--output=/dev/null", "--wrap=true")
        wait_for(lambda: slurm.call("squeue", "-h", "-j", other, "-o", "%r") not in ("", "None"), "word on a third job")
        reason = slurm.call("squeue", "-h", "-j", other, "-o", "%T %r")
        say(f"job {other} meanwhile: {reason}")
        (folder / "markers/go.on").touch()
        assert process.wait(SECONDS) == 0, workflow.printed()[-4000:]
        wait_for(lambda: slurm.call("squeue", "-h", "--states=all", "-j", other, "-o", "%T") == "COMPLETED", "free GPU")
        return Run(workflow, workflow.held(), reason)

    return run


@pytest.fixture(scope="module")
def apart(runs) -> Run:
    """Two jobs of one process."""
    return runs("warmup", "simclr")


@pytest.fixture(scope="module")
def together(runs) -> Run:
    """One job of two processes."""
    return runs("warmup", processes={"default": 1, "warmup": 2})


@pytest.mark.fault(31, "two jobs on a SLURM node of two GPUs see different ones, and a third waits until one is free")
def test_two_jobs_at_once_see_different_gpus_and_a_third_waits(apart):
    warmup, simclr = apart.held["warmup-0"], apart.held["simclr-0"]
    assert warmup.job != simclr.job
    assert {warmup.gpus, simclr.gpus} == {"0", "1"}
    assert apart.reason == "PENDING Resources"


def test_two_processes_of_a_stage_are_one_job_that_has_both_gpus(together):
    first, second = together.held["warmup-0"], together.held["warmup-1"]
    assert first == second
    assert first.gpus == "0,1"
    assert together.reason == "PENDING Resources"


def test_two_processes_in_one_job_do_what_one_process_does(apart, together):
    single, first, second = apart.losses("warmup-0"), together.losses("warmup-0"), together.losses("warmup-1")
    assert [losses["step"] for losses in first] == [1, 2, 3, 4, 5, 6]
    assert first == second
    for expected, found in zip(single, first, strict=True):
        assert found == pytest.approx(expected, rel=1e-8)
    for name in ("model.pt", "loops.pt"):
        paths = (run.workflow.folder / "results/warmup" / SEED / name for run in (apart, together))
        assert largest_difference(*map(load_checkpoint, paths)) < 1e-7
