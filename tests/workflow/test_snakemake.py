"""The real snakemake on the miniature town: complete, incremental, interrupted, and refused."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml

from loopda.models.checkpoint import load_checkpoint
from loopda.pipeline.jobs import Jobs
from loopda.pipeline.stages import SETS
from loopda.status import read_config, statuses

pytestmark = pytest.mark.workflow

BIN = Path(sys.executable).parent
SEED = "smoke/seed0"

# stands in for `python` in the commands of the rules: dies or is terminated where the test says, once
PYTHON = """#!{python}
import os, pathlib, runpy, signal, sys, time

flag, module, *arguments = sys.argv[1:]
assert flag == "-m"
if module == "loopda.stages.self_train":
    from loopda.training import loop

    record = loop.Training.record
    loop.SAVE_SECONDS = 0.0

    def held(self, **values):
        if self.step == {step}:
            pathlib.Path({marker!r}).write_text(str(os.getpid()))
            while not self.signal:
                time.sleep(0.02)
        record(self, **values)

    loop.Training.record = held
sys.argv = [module, *arguments]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


class Finished(NamedTuple):
    """How a call of snakemake ended, and all that it printed."""

    code: int
    output: str

    def jobs(self) -> Counter[str]:
        """How many jobs of each rule a dry run lists, without the default target."""
        found = Counter(re.findall(r"^(?:local)?rule (\w+):$", self.output, flags=re.MULTILINE))
        return found - Counter(all=1)

    def outputs(self) -> set[str]:
        """The first output of each job that a dry run lists."""
        return set(re.findall(r"^    output: results/([^\s,]+)", self.output, flags=re.MULTILINE))


class Workspace:
    """A folder that snakemake works in, with its own copy of config.yaml and overlays."""

    def __init__(self, folder: Path, root: Path, overlay: dict[str, Any]):
        self.folder, self.root = folder, root
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "config.yaml").exists():
            shutil.copy(root / "config.yaml", folder / "config.yaml")
            shutil.copy(root / "workflow/config/smoke.yaml", folder / "smoke.yaml")
            (folder / "miniature.yaml").write_text(yaml.safe_dump(overlay))
        self.python: Path | None = None

    def command(self, *arguments: str, change: dict[str, Any] | None = None) -> list[str]:
        overlays = ["smoke.yaml", "miniature.yaml"]
        if change is not None:
            (self.folder / "change.yaml").write_text(yaml.safe_dump(change))
            overlays.append("change.yaml")
        fixed = ["--cores", "1", "--resources", "gpu=1", "--directory", str(self.folder)]
        files = ["--snakefile", str(self.root / "Snakefile"), "--configfile", *overlays]
        # targets come first: an option that takes many values would swallow them
        return [str(BIN / "snakemake"), *arguments, *fixed, *files]

    def environment(self) -> dict[str, str]:
        first = [str(self.python.parent)] if self.python else []
        return {
            **os.environ,
            "PATH": os.pathsep.join([*first, str(BIN), os.environ["PATH"]]),
            "OMP_NUM_THREADS": "1",
            "XDG_CACHE_HOME": str(self.folder / "cache"),
        }

    def snakemake(self, *arguments: str, change: dict[str, Any] | None = None) -> Finished:
        process = subprocess.run(
            self.command(*arguments, change=change),
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1200,
            check=False,
        )
        return Finished(process.returncode, process.stdout)

    def stopped(self, *arguments: str, step: int, sent: signal.Signals) -> Finished:
        """snakemake, whose process group gets the signal while self_train is in the step after `step`."""
        with self.held(*arguments, step=step) as (process, stage):
            os.killpg(process.pid, sent)
            output, _ = process.communicate(timeout=300)
            deadline = time.monotonic() + 600
            while Path(f"/proc/{stage}/task").exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            assert not Path(f"/proc/{stage}/task").exists(), "the stage outlived its workflow"
        return Finished(process.returncode, output)

    @contextmanager
    def held(self, *arguments: str, step: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
        """snakemake and the pid of self_train, which is held in the step after `step`; both are killed afterwards."""
        marker = self.folder / f"held-{step}"
        self.python = self.folder / f"bin-{step}" / "python"
        self.python.parent.mkdir()
        self.python.write_text(PYTHON.format(python=sys.executable, step=step, marker=str(marker)))
        self.python.chmod(0o755)
        process = subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + 600
            while not marker.exists() or not marker.read_text():
                assert process.poll() is None, process.communicate()[0]
                assert time.monotonic() < deadline, "self_train never came to its step"
                time.sleep(0.05)
            self.python = None
            yield process, int(marker.read_text())
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self.python = None

    def results(self, name: str) -> Path:
        return self.folder / "results" / name

    def log(self, name: str) -> str:
        return (self.folder / "logs" / f"{name}.log").read_text()

    def times(self) -> dict[str, int]:
        """When each result was last written."""
        files = (path for path in self.results("").rglob("*") if path.is_file())
        return {str(path.relative_to(self.results(""))): path.stat().st_mtime_ns for path in files}


@pytest.fixture(scope="module")
def overlay(miniature_town) -> dict[str, Any]:
    return {"device": "cpu", "town": miniature_town}


@pytest.fixture(scope="module")
def first_run(tmp_path_factory, root, overlay) -> tuple[Workspace, Finished]:
    """The complete run of the experiment `smoke`, and what it printed. Tests change copies of it."""
    workspace = Workspace(tmp_path_factory.mktemp("complete"), root, overlay)
    return workspace, workspace.snakemake()


@pytest.fixture(scope="module")
def complete(first_run) -> Workspace:
    workspace, finished = first_run
    assert finished.code == 0, finished.output[-4000:]
    return workspace


@pytest.fixture
def copy(complete, tmp_path, root, overlay) -> Workspace:
    """A copy of the complete run, times of modification and Snakemake's own records included."""
    shutil.copytree(complete.folder, tmp_path / "copy", symlinks=True)
    return Workspace(tmp_path / "copy", root, overlay)


@pytest.fixture
def empty(tmp_path, root, overlay) -> Workspace:
    return Workspace(tmp_path / "empty", root, overlay)


def test_one_command_trains_every_stage_and_ends_with_a_page_and_a_table(first_run):
    workspace, finished = first_run
    assert finished.code == 0, finished.output[-4000:]
    table = workspace.results("report/smoke/table.txt").read_text()
    page = workspace.results("report/smoke/report.html").read_text()
    for shown in ("source-only", "warm-up", "self-training", "distillation", "night test", "night validation"):
        assert shown in table
        assert shown in page
    assert table in finished.output
    for stage in ("pretrain", "warmup", "self_train", "simclr", "distill"):
        folder = workspace.results(f"{stage}/{SEED}")
        assert {"model.pt", "metrics.jsonl", "config.yaml"} <= {path.name for path in folder.iterdir()}
        assert not (folder / "state").exists()
        assert "done" in workspace.log(f"{stage}/{SEED}")


def test_the_status_of_a_complete_run_is_done_throughout(complete):
    overlays = [complete.folder / name for name in ("smoke.yaml", "miniature.yaml")]
    found = statuses(read_config(overlays, complete.folder), root=complete.folder)
    assert {(one.stage, one.state) for one in found} >= {("town", "done"), ("distill", "done"), ("report", "done")}
    assert {one.state for one in found} == {"done"}
    assert all(one.seconds is not None for one in found)


@pytest.mark.parametrize("target", ["all", "run", "compare", "search"])
def test_the_status_lists_the_jobs_that_snakemake_would_run_and_no_other(empty, target):
    change = {"run": ["loopda", "paired"], "seeds": [0, 1]}
    finished = empty.snakemake(target, "--dry-run", change=change)
    assert finished.code == 0, finished.output
    overlays = [empty.folder / name for name in ("smoke.yaml", "miniature.yaml", "change.yaml")]
    jobs = Jobs(read_config(overlays, empty.folder))
    listed = {job.files[0].removeprefix("results/") for job in jobs.with_ancestors(jobs.of_target(target))}
    assert listed == {name for name in finished.outputs() if not name.endswith(("/config.yaml", "/checked"))}


def test_a_search_trains_its_trials_scores_no_test_image_of_them_and_writes_the_best_as_an_overlay(copy):
    known = yaml.safe_load((copy.folder / "config.yaml").read_text())["search"]["grids"]
    grids = dict.fromkeys(known) | {"smoke": {"until": "pretrain", "pretrain.steps": [6, 7]}}
    change = {"search": {"trials": 2, "grids": grids}}
    finished = copy.snakemake("search", change=change)
    assert finished.code == 0, finished.output[-4000:]
    assert not copy.results("pretrain/smoke-trial1").exists(), "it is the training of smoke"
    assert copy.results("pretrain/smoke-trial2/seed0/model.pt").exists()
    for name, sets in (("smoke", {"night", "day", "night-test", "day-test"}), ("smoke-trial1", {"night", "day"})):
        scores = json.loads(copy.results(f"evaluate/{name}/seed0/pretrain.json").read_text())
        assert scores["domains"].keys() == sets
    assert "night-test" not in copy.results("evaluate/smoke-trial2/seed0/pretrain.json").read_text()
    best = yaml.safe_load(copy.results("search/best.yaml").read_text())
    assert best["experiments"]["smoke"]["pretrain"]["steps"] in (6, 7)
    assert "smoke-trial2" in copy.results("search/report.html").read_text()
    again = copy.snakemake("search", change=change)
    assert "Nothing to be done" in again.output
    overlays = [copy.folder / name for name in ("smoke.yaml", "miniature.yaml", "change.yaml")]
    found = statuses(read_config(overlays, copy.folder), ["search"], root=copy.folder)
    assert {one.state for one in found} == {"done"}


def test_a_search_that_cannot_be_made_is_refused_before_any_training_and_nothing_else_is(empty):
    known = yaml.safe_load((empty.folder / "config.yaml").read_text())["search"]["grids"]
    grids = dict.fromkeys(known) | {"smoke": {"until": "pretrain", "warmup.steps": [6, 7]}}
    change = {"search": {"trials": 2, "grids": grids}}
    finished = empty.snakemake("search", "--dry-run", change=change)
    assert finished.code != 0
    assert "search.grids.smoke: " in finished.output
    assert "are one training" in finished.output
    assert empty.snakemake("--dry-run", change=change).code == 0


@pytest.mark.fault(21, "a second run does nothing")
def test_an_immediate_second_run_has_nothing_to_do(complete):
    before = complete.times()
    finished = complete.snakemake()
    assert finished.code == 0
    assert "Nothing to be done" in finished.output
    assert complete.times() == before


@pytest.mark.fault(20, "that stage and those behind it, and nothing else")
def test_a_number_of_self_train_reruns_that_stage_and_what_follows_from_it_alone(complete):
    change = {"experiments": {"smoke": {"self_train": {"steps": 5}}}}
    finished = complete.snakemake("--dry-run", change=change)
    assert finished.code == 0, finished.output
    assert finished.outputs() == {
        f"self_train/{SEED}/config.yaml",
        f"self_train/{SEED}/model.pt",
        f"distill/{SEED}/model.pt",
        f"evaluate/{SEED}/self_train.json",
        f"evaluate/{SEED}/distill.json",
        "report/smoke/report.html",
    }


@pytest.mark.fault(19, "nothing runs again for an unrelated key")
def test_a_number_of_an_experiment_that_is_not_run_reruns_nothing(complete):
    change = {"experiments": {"tau-1": {"self_train": {"steps": 5}}}}
    finished = complete.snakemake("--dry-run", change=change)
    assert finished.jobs() == {}
    assert "Nothing to be done" in finished.output


@pytest.mark.fault(19, "nothing runs again for another number of processes")
def test_another_number_of_processes_reruns_nothing(complete):
    finished = complete.snakemake("--dry-run", change={"processes": {"default": 2}})
    assert finished.code == 0, finished.output
    assert "Nothing to be done" in finished.output


def test_a_stage_that_processes_share_is_started_by_torchrun_and_no_other_is(empty):
    change = {"processes": {"default": 1, "warmup": 2}}
    finished = empty.snakemake("--dry-run", "--printshellcmds", change=change)
    commands = re.findall(r"^ +(.*)python -m loopda\.stages\.(\w+)", finished.output, flags=re.MULTILINE)
    torchrun = "torchrun --standalone --nproc-per-node 2 --shutdown-timeout 120 --no-python -- "
    assert ("", "pretrain") in commands
    assert [(how, stage) for how, stage in commands if how] == [(torchrun, "warmup")]


def test_a_deleted_page_is_made_again_with_its_deleted_score_and_nothing_else(copy):
    before = copy.times()
    copy.results(f"evaluate/{SEED}/warmup.json").unlink()
    copy.results("report/smoke/report.html").unlink()
    finished = copy.snakemake()
    assert finished.code == 0, finished.output
    after = copy.times()
    assert after.keys() == before.keys()
    rewritten = {name for name in after if after[name] != before[name]}
    maps = {name for name in rewritten if name.startswith(f"evaluate/{SEED}/warmup/")}
    page = {"report/smoke/report.html", "report/smoke/table.txt", "report/smoke/report.made.json"}
    assert rewritten - maps == {f"evaluate/{SEED}/warmup.json", f"evaluate/{SEED}/warmup.made.json", *page}


def test_a_deleted_model_that_is_asked_for_is_trained_again_from_what_is_there(copy):
    copy.results(f"self_train/{SEED}/model.pt").unlink()
    target = f"results/self_train/{SEED}/model.pt"
    assert copy.snakemake(target, "--dry-run").outputs() == {f"self_train/{SEED}/model.pt"}


def test_other_pseudo_labels_reach_self_train_although_the_run_stopped_in_between(copy):
    """Their manifest keeps its text, so Snakemake must see the difference elsewhere."""
    change = {"pseudo_labels": {"cap": 0.2, "portion": 0.1}}
    finished = copy.snakemake(f"results/pseudo_labels/{SEED}/labels.csv", change=change)
    assert finished.code == 0, finished.output
    assert f"self_train/{SEED}/model.pt" in copy.snakemake("--dry-run", change=change).outputs()


def test_another_town_reaches_the_training_although_the_run_stopped_in_between(copy, miniature_town):
    """The same files with other pixels: the manifests keep their text."""
    change = {"town": {**miniature_town, "seed": 1}}
    sets = [f"results/manifest/loopda/{name}.csv" for name in SETS if name != "day"]
    finished = copy.snakemake(*sets, change=change)
    assert finished.code == 0, finished.output
    following = copy.snakemake("--dry-run", change=change)
    assert following.jobs()["manifest"] == 0, "the run did not stop behind it"
    assert f"pretrain/{SEED}/model.pt" in following.outputs()


def test_an_experiment_in_an_overlay_shares_what_the_experiments_of_the_configuration_have_trained(empty):
    change = {"run": ["mine"], "experiments": {"mine": {"agreement": {"tau": 0.3}}}}
    finished = empty.snakemake("--dry-run", change=change)
    assert finished.code == 0, finished.output
    assert {"pretrain/loopda/seed0/model.pt", "warmup/loopda/seed0/model.pt"} <= finished.outputs()
    assert "self_train/mine/seed0/model.pt" in finished.outputs()


@pytest.mark.fault(8, "after --unlock a plain run goes on from the saved step and ends with the same bits")
def test_a_run_that_is_terminated_and_then_killed_goes_on_and_ends_as_if_it_had_not_been(copy):
    golden = load_checkpoint(copy.results(f"self_train/{SEED}/model.pt"))
    shutil.rmtree(copy.results(f"self_train/{SEED}"))
    target = f"results/self_train/{SEED}/model.pt"

    terminated = copy.stopped(target, step=1, sent=signal.SIGTERM)
    assert terminated.code != 0
    assert "stopped by signal 15 after step 2, which is saved" in copy.log(f"self_train/{SEED}")

    killed = copy.stopped(target, step=4, sent=signal.SIGKILL)
    assert killed.code == -signal.SIGKILL, killed.output
    assert "goes on after step 2" in copy.log(f"self_train/{SEED}")
    assert not (copy.folder / target).exists()

    locked = copy.snakemake(target)
    assert locked.code != 0
    assert "--unlock" in locked.output
    assert copy.snakemake("--unlock").code == 0
    finished = copy.snakemake(target)
    assert finished.code == 0, finished.output
    assert "goes on after step 4" in copy.log(f"self_train/{SEED}")

    resumed = load_checkpoint(copy.folder / target)
    assert resumed["model"].keys() == golden["model"].keys()
    assert all(torch.equal(resumed["model"][name], value) for name, value in golden["model"].items())
    assert resumed["statistics"].keys() == golden["statistics"].keys() == {"day", "night"}
    for domain, values in golden["statistics"].items():
        assert all(torch.equal(resumed["statistics"][domain][name], value) for name, value in values.items())


@pytest.mark.fault(7, "the second run's stage is refused by the pid of the one that lives on")
def test_a_stage_that_outlives_its_workflow_is_joined_by_no_second_writer(copy):
    shutil.rmtree(copy.results(f"self_train/{SEED}"))
    target = f"results/self_train/{SEED}/model.pt"
    with copy.held(target, step=1) as (snakemake, stage):
        snakemake.kill()
        snakemake.wait()
        assert copy.snakemake("--unlock").code == 0
        second = copy.snakemake(target)
        assert second.code != 0
        assert re.search(rf"another process \(\S+ pid {stage} since .*\) is writing it", second.output)
    assert not (copy.folder / target).exists()


@pytest.mark.fault(19, "a comment in config.yaml: nothing runs again")
@pytest.mark.fault(21, "results copied with their times, small inputs touched: nothing runs again")
def test_neither_a_copy_nor_a_touch_nor_a_comment_runs_anything_again(copy):
    with open(copy.folder / "config.yaml", "a") as file:
        file.write("# a comment\n")
    for touched in (copy.folder / "config.yaml", *copy.results("manifest").rglob("*.csv")):
        touched.touch()
    assert "Nothing to be done" in copy.snakemake("--dry-run").output


def test_the_sweep_of_tau_trains_one_warm_up_and_a_self_training_for_each_threshold(empty):
    finished = empty.snakemake("tau", "--dry-run", change={"table_seeds": [0]})
    assert finished.code == 0, finished.output
    jobs = finished.jobs()
    once = ("town", "prepare", "pretrain", "warmup", "pseudo_labels", "tau")
    assert {name: jobs[name] for name in once} == dict.fromkeys(once, 1)
    assert jobs["self_train"] == 6


def test_without_pairs_no_job_looks_for_any(empty):
    assert empty.snakemake("--dry-run").jobs()["pair"] == 0


def test_an_experiment_with_pairs_shares_the_warm_up_and_labels_what_it_has_paired(empty):
    change = {"run": ["loopda", "paired"]}
    finished = empty.snakemake("--dry-run", change=change)
    assert finished.code == 0, finished.output
    jobs = finished.jobs()
    once = ("prepare", "pretrain", "warmup", "pair")
    assert {name: jobs[name] for name in once} == dict.fromkeys(once, 1)
    assert jobs["pseudo_labels"] == jobs["self_train"] == 2
    readers = r"^    input: .*pair/paired/seed0/night\.csv.*\n    output: results/(\w+)/"
    found = re.findall(readers, finished.output, flags=re.MULTILINE)
    assert set(found) == {"pseudo_labels", "self_train", "illustrate"}


def test_the_page_of_an_experiment_with_pairs_shows_the_sheet_of_the_first_seed_and_no_other_page_does(empty):
    finished = empty.snakemake("--dry-run", change={"run": ["loopda", "paired"], "seeds": [2, 1]})
    assert finished.code == 0, finished.output
    readers = r"^    input: (.*)\n    output: results/report/(\w+)/report\.html"
    read = {page: files for files, page in re.findall(readers, finished.output, flags=re.MULTILINE)}
    assert set(read) == {"loopda", "paired"}
    assert "results/pair/" not in read["loopda"]
    sheets = re.findall(r"results/pair/[^,\s]+", read["paired"])
    assert sheets == [f"results/pair/paired/seed1/{name}" for name in ("ranking.json", "contact_sheet.png")]


def test_a_drive_without_references_is_trained_with_and_without_pairs_from_one_warm_up(empty, root):
    change = yaml.safe_load((root / "workflow/config/drive.yaml").read_text())
    finished = empty.snakemake("run", "--dry-run", change=change)
    assert finished.code == 0, finished.output
    jobs = finished.jobs()
    assert (jobs["prepare"], jobs["warmup"], jobs["pair"], jobs["self_train"]) == (1, 1, 1, 2)


def test_self_training_reads_the_references_that_pair_has_found(copy):
    change = {"experiments": {"smoke": {"pair": {"enabled": True, "replace": True, "tau": 1.0}}}}
    finished = copy.snakemake(f"results/self_train/{SEED}/model.pt", change=change)
    assert finished.code == 0, finished.output
    assert "8 of 8 night images have no day reference" in copy.log(f"self_train/{SEED}")
    assert {path.name for path in copy.results(f"pair/{SEED}").iterdir()} == {
        "config.yaml",
        "night.csv",
        "night.made.json",
        "pairs.csv",
        "ranking.json",
        "contact_sheet.png",
    }


def test_the_ablation_of_the_loops_trains_five_warm_ups_after_one_pretraining(empty):
    finished = empty.snakemake("ablation", "--dry-run", change={"table_seeds": [0]})
    assert finished.code == 0, finished.output
    assert finished.jobs()["pretrain"] == 1
    assert finished.jobs()["warmup"] == 5
    assert finished.jobs()["self_train"] == 2


def test_the_comparison_of_all_methods_pretrains_once_for_each_seed_and_network(empty):
    wide = {"until": "adapt", "network": {"width": 12}, "adapt": {"method": "advent"}}
    change = {"table_seeds": [0, 1], "experiments": {"wide": wide}}
    finished = empty.snakemake("compare", "--dry-run", change=change)
    assert finished.code == 0, finished.output
    jobs = finished.jobs()
    assert jobs["pretrain"] == 2 * 2, "the one that all share, and the oracle's"
    assert (jobs["adapt"], jobs["warmup"], jobs["self_train"], jobs["distill"]) == (2 * 9, 2, 2, 2)
    assert jobs["compare"] == 1
    compared = ["advent", "wide", "minent", "advent-ensemble"]
    jobs = empty.snakemake("compare", "--dry-run", change=change | {"compare": compared}).jobs()
    assert (jobs["pretrain"], jobs["adapt"], jobs["evaluate"]) == (2 * 2, 2 * 3, 2 * 6)


def test_a_second_seed_shares_the_data_and_nothing_else(complete):
    jobs = complete.snakemake("--dry-run", change={"seeds": [0, 1]}).jobs()
    trained = ("pretrain", "warmup", "pseudo_labels", "self_train", "simclr", "distill")
    assert {name: jobs[name] for name in trained} == dict.fromkeys(trained, 1)
    assert jobs["town"] == jobs["prepare"] == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"warmup": {"stepz": 3}}, ["warmup", "stepz"]),
        ({"warmup": {"steps": 1e3}}, ["warmup.steps", "1000.0", "integer"]),
        ({"run": ["nonsense"]}, ["run", "no experiment 'nonsense'"]),
    ],
    ids=str,
)
@pytest.mark.fault(37, "one message before any job")
def test_a_wrong_configuration_ends_before_any_job_with_one_message(empty, change, says):
    finished = empty.snakemake(change=change)
    assert finished.code != 0
    (line,) = [line for line in finished.output.splitlines() if line.startswith("configuration: ")][:1]
    assert all(word in line for word in says)
    assert "Traceback" not in finished.output
    assert "rule " not in finished.output
    assert not empty.results("").exists()


def dry_run(folder: Path, *arguments: str) -> Finished:
    """A dry run of snakemake in `folder`, with these arguments alone."""
    command = [str(BIN / "snakemake"), "--dry-run", "--cores", "1", *arguments]
    process = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False
    )
    return Finished(process.returncode, process.stdout)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        (
            "mine.yaml",
            "warmup: {steps: 7}\nwarmup: {batch_size: 1}\n",
            "mine.yaml:2: 'warmup' occurs twice in the file",
        ),
        ("mine.yaml", '{"seeds": [0],\n "seeds": [1]}', "mine.yaml:2: 'seeds' occurs twice in the file (line 1)"),
        ("mine.yaml", "run: [2024-01-05]\n", "mine.yaml:1: YAML reads 2024-01-05 as a date"),
        ("mine.yaml", "run: [no]\n", "run: no experiment False; YAML reads yes, no"),
        ("config.yaml", "run: [a]\nrun: [b]\n", "config.yaml:2: 'run' occurs twice"),
        ("config.yaml", "run:\n\t- loopda\n", "config.yaml:2: not valid YAML: a tab"),
    ],
)
@pytest.mark.fault(56, "also where Snakemake has read them first")
def test_what_yaml_drops_or_changes_ends_a_run_before_any_job(tmp_path, root, name, text, says):
    (tmp_path / name).write_text(text)
    overlay = ["--configfile", name] if name == "mine.yaml" else []
    finished = dry_run(tmp_path, "--snakefile", str(root / "Snakefile"), *overlay)
    assert finished.code != 0
    assert says in finished.output
    assert "Traceback" not in finished.output


@pytest.mark.fault(61, "and Snakemake's merging does not bring them back")
def test_data_at_the_top_of_an_overlay_may_have_another_layout(tmp_path, root):
    night = "  night: {layout: folder, root: mine, images: 'night/*.jpg'}\n"
    (tmp_path / "mine.yaml").write_text(f"data:\n  source: {{layout: table, csv: mine.csv}}\n{night}")
    target, overlay = "results/prepare/loopda/config.yaml", ["--configfile", "mine.yaml"]
    finished = dry_run(tmp_path, target, "--printshellcmds", "--snakefile", str(root / "Snakefile"), *overlay)
    assert finished.code == 0, finished.output
    assert re.search(r"night:\n +layout: folder\n +images: night/\*.jpg\n +root: mine\n", finished.output)
    (tmp_path / "mine.yaml").write_text(f"data:\n{night}")
    finished = dry_run(tmp_path, target, "--snakefile", str(root / "Snakefile"), *overlay)
    (fault,) = [line for line in finished.output.splitlines() if line.startswith("configuration:")]
    assert fault.startswith("configuration: data.source: there is no such set beside data.night, and the built-in town")


def test_a_folder_without_config_yaml_works_with_the_one_beside_the_snakefile(tmp_path, root):
    (tmp_path / "mine.yaml").write_text("experiments: {mine: {until: pretrain}}\n")
    files = ["--snakefile", str(root / "Snakefile"), "--configfile", "mine.yaml", "--config", "run=[mine]"]
    finished = dry_run(tmp_path, *files)
    assert finished.code == 0, finished.output
    assert finished.outputs() >= {"pretrain/loopda/seed0/model.pt", "report/mine/report.html"}


MODULE = """
configfile: "config.yaml"

module segmentation:
    snakefile: "{snakefile}"
    {config}

use rule * from segmentation as segmentation_*
"""


@pytest.mark.parametrize(
    ("line", "text", "experiment"),
    [
        ("", "other:\n", "loopda"),
        ("config: {}", "other:\n", "loopda"),
        (
            'config: config["segmentation"]',
            "other:\nsegmentation: {run: [mine], experiments: {mine: {until: warmup, warmup: {steps: 3}}}}\n",
            "mine",
        ),
    ],
)
@pytest.mark.fault(64, "its configuration is the one beside the Snakefile, with the module's over it")
def test_the_workflow_is_a_module_of_another_one_whose_folder_has_another_config_yaml(
    tmp_path, root, line, text, experiment
):
    (tmp_path / "config.yaml").write_text(text)
    (tmp_path / "Snakefile").write_text(MODULE.format(snakefile=root / "Snakefile", config=line))
    finished = dry_run(tmp_path, f"results/report/{experiment}/report.html", "--printshellcmds")
    assert finished.code == 0, finished.output
    assert finished.outputs() >= {"pretrain/loopda/seed0/model.pt", f"warmup/{experiment}/seed0/model.pt"}
    assert "python -m loopda.stages.warmup" in finished.output


@pytest.mark.fault(64, "its faults are told as everywhere")
def test_what_is_wrong_with_the_configuration_of_a_module_is_told_without_a_traceback(tmp_path, root):
    (tmp_path / "Snakefile").write_text(MODULE.format(snakefile=root / "Snakefile", config="config: config"))
    for text, says in (("warmup: {stepz: 3}\n", "stepz"), ("run: [a]\nrun: [b]\n", "config.yaml:2: 'run' occurs")):
        (tmp_path / "config.yaml").write_text(text)
        finished = dry_run(tmp_path)
        assert finished.code != 0
        assert says in finished.output
        assert "Traceback" not in finished.output


def test_images_of_ones_own_are_prepared_without_building_the_town(complete, empty):
    shutil.copytree(complete.results("town"), empty.folder / "images")
    folders = {
        "source": "Cityscapes",
        "day_val": "Cityscapes",
        "night": "DarkZurich",
        "night_val": "DarkZurich",
    }
    roots = {name: {"root": f"images/{folder}"} for name, folder in folders.items()}
    change = {"run": ["mine"], "experiments": {"mine": {"data": roots}}}
    finished = empty.snakemake("results/prepare/mine/summary.json", change=change)
    assert finished.code == 0, finished.output
    assert empty.results("prepare/mine/summary.json").exists()
    assert not empty.results("town").exists()


@pytest.mark.fault(73, "the table has the name of the list, and every experiment's scores in it")
def test_the_table_of_many_experiments_has_the_name_of_their_list(empty):
    names = [f"night-adaptation-{number:02d}-lr" for number in range(12)]
    short = {"extends": "smoke", "until": "pretrain"}
    changes = {name: {**short, "pretrain": {"steps": 7 + place}} for place, name in enumerate(names)}
    change = {"run": names, "table_seeds": [0], "experiments": changes}
    finished = empty.snakemake("run", "--dry-run", change=change)
    assert finished.code == 0, finished.output
    assert {path for path in finished.outputs() if path.startswith("run/")} == {"run/config.yaml", "run/report.html"}
    [read] = re.findall(r"^    input: (.*)\n    output: results/run/report\.html", finished.output, flags=re.MULTILINE)
    assert {f"results/evaluate/{name}/seed0/pretrain.json" for name in names} <= set(read.split(", "))
