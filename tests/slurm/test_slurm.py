"""The miniature pipeline on a real SLURM that cancels, requeues, preempts and times out: it ends as on one machine."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, wait_for
from interruption import identical
from pipeline import SECONDS, SEED, Workflow

from loopda.models.checkpoint import load_checkpoint

pytestmark = pytest.mark.slurm

HELD = {"pretrain": [1, 3], "warmup": [2], "simclr": [2], "self_train": [2], "distill": [2]}  # steps done when held

# a training waits, after the steps of HELD, for a signal
HOLD = f"""
steps = {HELD!r}.get(stage, [])
if steps:
    from loopda.training import loop

    record = loop.Training.record

    def holding(self, **values):
        name = f"{{stage}}-{{self.step}}"
        if self.step in steps and not (markers / name).exists():
            held(name, lambda: self.signal)
        record(self, **values)

    loop.Training.record = holding
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory, say) -> Iterator[Cluster]:
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # of the tests takes the cluster down, as Ctrl-C
    with Cluster(tmp_path_factory.mktemp("slurm") / "cluster") as cluster:
        say("the cluster is up")
        yield cluster
    signal.signal(signal.SIGTERM, before)
    say("the cluster is down")


@pytest.fixture(scope="module")
def begun_alone(tmp_path_factory, root, miniature_town) -> tuple[Workflow, subprocess.Popen]:
    """The run on this machine without SLURM, which has its time while the one on the cluster waits."""
    workflow = Workflow(tmp_path_factory.mktemp("alone") / "run", root, miniature_town, dict(os.environ))
    return workflow, workflow.start("--cores", "1", "--resources", "gpu=1")


@pytest.fixture(scope="module")
def alone(begun_alone, say) -> Workflow:
    """As begun_alone, complete."""
    workflow, process = begun_alone
    assert process.wait(SECONDS) == 0, workflow.printed()[-4000:]
    say("the run without SLURM is complete")
    return workflow


def disturb(slurm: Cluster, name: str, job: str) -> str:
    """Do something to the job of the training that is held as `name`; returns what."""
    if name == "pretrain-3":
        slurm.call("scancel", job)
        return "is cancelled"
    if name == "warmup-2":
        slurm.call("scontrol", "requeue", job)
        return "is requeued"
    if name == "simclr-2":
        slurm.limit(job, 0)
        return "is out of time"
    if name == "self_train-2":
        slurm.limit(job, 3)
        return "is told three minutes ahead of its limit"
    assert name == "distill-2"
    slurm.call("sbatch", "--partition=urgent", "--gpus=1", "--output=/dev/null", "--wrap=true")
    return "is preempted"


@pytest.fixture(scope="module")
def disturbed(slurm, profile, begun_alone, tmp_path_factory, root, miniature_town, say) -> Workflow:
    """The complete run on the cluster: interrupted at the terminal, started again, then disturbed in every training."""
    workflow = Workflow(tmp_path_factory.mktemp("disturbed") / "run", root, miniature_town, slurm.environment)
    workflow.replace_python(HOLD)
    arguments = ("--workflow-profile", str(profile))
    process = workflow.start(*arguments)
    deadline = time.monotonic() + SECONDS
    seen: set[str] = set()
    try:
        while process.poll() is None:
            assert time.monotonic() < deadline, workflow.printed()[-4000:]
            for name, held in workflow.held().items():
                if name in seen:
                    continue
                seen.add(name)
                if name == "pretrain-1":
                    say(f"{name}: snakemake is interrupted at the terminal, then started again")
                    process.send_signal(signal.SIGINT)
                    process.wait(SECONDS)
                    process = workflow.start(*arguments)
                else:
                    say(f"{name}: job {held.job} {disturb(slurm, name, held.job)}")
            time.sleep(0.1)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(SECONDS)
    for job in slurm.jobs():
        say(f"job {job.id} {job.state}, requeued {job.restarts} times, {job.rule}")
    assert process.returncode == 0, workflow.printed()[-4000:]
    return workflow


def ends(slurm: Cluster, rule: str) -> list[str]:
    """How the jobs of a rule ended, in their order."""
    return [job.state for job in slurm.jobs() if job.rule.startswith(f"rule_{rule}_")]


def test_a_job_cancelled_at_the_terminal_or_by_scancel_is_followed_by_another(disturbed, slurm):
    assert ends(slurm, "pretrain") == ["CANCELLED", "CANCELLED", "COMPLETED"]


def test_a_requeued_job_runs_again_under_its_number(disturbed, slurm):
    assert ends(slurm, "warmup") == ["COMPLETED"]
    assert [job.restarts for job in slurm.jobs() if job.rule.startswith("rule_warmup_")] == [1]


def test_a_job_that_runs_out_of_time_is_followed_by_another(disturbed, slurm):
    assert ends(slurm, "simclr") == ["TIMEOUT", "COMPLETED"]


def test_a_job_that_is_told_ahead_of_its_limit_ends_before_it(disturbed, slurm):
    assert ends(slurm, "self_train") == ["FAILED", "COMPLETED"]


def test_a_preempted_job_that_ends_by_itself_is_followed_by_another(disturbed, slurm):
    assert ends(slurm, "distill") == ["FAILED", "COMPLETED"]


@pytest.mark.parametrize(("stage", "steps"), HELD.items())
def test_a_disturbed_stage_goes_on_behind_the_step_in_which_it_was_told_to_end(disturbed, stage, steps):
    assert f"goes on after step {steps[-1] + 1} " in disturbed.log(stage)


def test_every_training_sees_the_one_gpu_that_slurm_counts(disturbed):
    assert {held.gpus for held in disturbed.held().values()} == {"0"}


@pytest.mark.parametrize("stage", HELD)
def test_the_model_of_a_disturbed_stage_has_the_bits_of_an_undisturbed_one(disturbed, alone, stage):
    one, other = (load_checkpoint(run.folder / "results" / stage / SEED / "model.pt") for run in (disturbed, alone))
    assert identical(one, other)


def test_scores_and_label_maps_are_those_of_the_run_without_slurm_byte_for_byte(disturbed, alone):
    one, other = disturbed.evaluated(), alone.evaluated()
    assert {Path(name).suffix for name in other} >= {".json", ".png"}
    assert one == other


def test_a_second_run_has_nothing_to_do(disturbed, profile):
    assert disturbed.start("--workflow-profile", str(profile)).wait(SECONDS) == 0
    assert "Nothing to be done" in disturbed.printed()


def test_a_cluster_that_is_left_in_the_middle_of_a_job_leaves_no_process_behind(tmp_path):
    cluster = Cluster(tmp_path / "cluster")

    def stopped_in_the_middle() -> None:
        with cluster:
            cluster.call("sbatch", "--output=/dev/null", "--chdir=/tmp", "--wrap=exec sleep 600")
            wait_for(lambda: cluster.jobs()[0].state == "RUNNING", "job at work")
            assert cluster.processes()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped_in_the_middle()
    assert not cluster.processes()
