"""The state of a run, read off fabricated folders and off a real process."""

import copy
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from loopda.errors import ConfigError
from loopda.pipeline import experiments
from loopda.pipeline.job_status import Status
from loopda.pipeline.jobs import Job, Jobs
from loopda.pipeline.merging import in_order
from loopda.pipeline.search import with_trials
from loopda.pipeline.stages import STAGES
from loopda.status import read_config, statuses, table

NOW = 1_800_000_000.0
ELSEWHERE = "node7"
WARMUP = Job("warmup", "loopda", 0)


class Run:
    """A folder as snakemake leaves it, with the jobs of config.yaml done, failed or cut short as a test says."""

    def __init__(self, folder: Path, config: dict[str, Any]):
        self.folder, self.config = folder, config
        self.jobs = Jobs(config)
        self.made = 0

    def finish(self, *jobs: Job, seconds: float = 133.0) -> None:
        """Leave the results of `jobs`, each newer than what was left before."""
        for job in jobs:
            self.made += 10
            for name in job.files:
                path = self.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps({"step": 9, "seconds": seconds}) + "\n")
                os.utime(path, (NOW + self.made, NOW + self.made))
            if job.stage in STAGES and job.stage != "submission":
                (self.folder / job.config).write_text(self.jobs.section_text(job))
            benchmark = self.folder / f"benchmarks/{job.place}.tsv"
            benchmark.parent.mkdir(parents=True, exist_ok=True)
            benchmark.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:02:13\t100.0\n")

    def finish_before(self, job: Job) -> None:
        """Leave the results of all that `job` needs."""
        self.finish(*[one for one in self.jobs.with_ancestors([job]) if one != job])

    def tell(self, job: Job, **facts: Any) -> Path:
        """Leave what a process has told of itself; by default one on this host that is gone. Returns its log."""
        log = self.folder / f"logs/{job.place}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
        told = {"host": os.uname().nodename, "pid": 4711, "slurm_job": None, "started": NOW, "time": NOW}
        log.with_suffix(".progress.json").write_text(json.dumps(told | facts))
        return log

    def save(self, job: Job, step: int) -> None:
        """Leave a checkpoint of the progress of `job`."""
        (self.folder / job.folder / "state" / f"step-{step:07d}").mkdir(parents=True)

    def statuses(self, *targets: str, every: bool = False) -> dict[Job, Status]:
        found = statuses(self.config, targets, root=self.folder, every=every)
        return {Job(one.stage, one.experiment, one.seed, one.model, one.data_set): one for one in found}

    def status(self, job: Job) -> Status:
        return self.statuses()[job]

    def line(self, job: Job, *, width: int = 120) -> str:
        """The line of `job` in the table, with single spaces."""
        lines = table(list(self.statuses().values()), width=width, now=NOW).splitlines()
        words = [job.stage, *([job.model] if job.model else []), *([job.experiment] if job.experiment else [])]
        (found,) = [line for line in (" ".join(line.split()) for line in lines) if line.startswith(" ".join(words))]
        return found


@pytest.fixture
def run(tmp_path, root) -> Run:
    return Run(tmp_path, read_config([], root))


def test_before_anything_has_run_every_job_waits_for_those_before_it(run):
    found = run.statuses()
    assert {status.state for status in found.values()} == {"waiting"}
    source, night = (Job("manifest", "loopda", data_set=name) for name in ("source", "night"))
    assert list(found)[:3] == [Job("town"), source, night]
    assert list(found)[-1] == Job("report", "loopda")
    assert found[WARMUP].waits_for == ["pretrain/loopda/seed0"]
    assert run.line(Job("town")) == "town waiting for its turn"
    assert run.line(Job("distill", "loopda", 0)) == "distill loopda 0 waiting for self_train, simclr"


def test_what_is_done_shows_when_and_how_long_it_took(run):
    run.finish_before(Job("report", "loopda"))
    run.finish(Job("report", "loopda"))
    assert {status.state for status in run.statuses().values()} == {"done"}
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.status(WARMUP).finished))
    assert run.line(WARMUP) == f"warmup loopda 0 done {when}, took 0:02:13"
    assert run.status(Job("evaluate", "loopda", 0, "warmup")).seconds == 133.0


def test_the_time_of_a_training_is_that_of_all_its_parts_and_not_of_the_last_alone(run):
    run.finish_before(WARMUP)
    run.finish(WARMUP, seconds=7200.0)
    (run.folder / "benchmarks/warmup/loopda/seed0.tsv").write_text("s\th:m:s\n60.0\t0:01:00\n")
    assert run.status(WARMUP).seconds == 7200.0


def test_a_stage_without_all_of_its_files_is_not_done(run):
    run.finish_before(WARMUP)
    run.finish(WARMUP)
    (run.folder / "results/warmup/loopda/seed0/loops.pt").unlink()
    assert run.status(WARMUP).state == "waiting"


def test_a_result_of_other_settings_is_outdated_and_so_is_what_was_made_of_it(run):
    last = Job("report", "loopda")
    run.finish_before(last)
    run.config["self_train"]["steps"] += 1
    found = run.statuses()
    outdated = {job.stage for job, status in found.items() if status.state == "outdated"}
    assert outdated == {"self_train", "distill", "evaluate"}
    assert found[Job("evaluate", "loopda", 0, "warmup")].state == "done"
    assert run.line(Job("self_train", "loopda", 0)) == "self_train loopda 0 outdated of other settings"
    assert run.line(Job("distill", "loopda", 0)) == "distill loopda 0 outdated after self_train"


def test_a_result_that_is_older_than_what_it_was_made_of_is_outdated(run):
    run.finish_before(Job("report", "loopda"))
    run.finish(Job("pretrain", "loopda", 0))
    assert run.status(WARMUP).state == "outdated"
    assert run.status(WARMUP).waits_for == ["pretrain/loopda/seed0"]


def test_a_failure_shows_its_exit_code_and_its_error_in_full_and_what_waits_for_it(run):
    run.finish_before(WARMUP)
    error = "DataError: data/night/0001.png: cannot be read; " + "fetch it again " * 20
    run.tell(WARMUP, exit_code=3, error=error)
    status = run.status(WARMUP)
    assert (status.state, status.exit_code, status.error) == ("failed", 3, error)
    shown = table(list(run.statuses().values()), width=80, now=NOW)
    assert "logs/warmup/loopda/seed0.log: exit code 3 (data)" in shown
    assert error.strip() in re.sub(r"\n\s+", " ", shown)
    assert run.line(Job("pseudo_labels", "loopda", 0)) == "pseudo_labels loopda 0 waiting for warmup"


def test_a_stage_that_failed_and_was_done_later_is_done(run):
    run.finish_before(WARMUP)
    run.tell(WARMUP, exit_code=3, error="DataError: no image")
    run.finish(WARMUP)
    assert run.status(WARMUP).state == "done"


@pytest.mark.fault(28, "status shows it while the stage runs, after it has stopped and when it is done")
def test_a_warning_is_shown_while_a_training_runs_and_however_it_ends(run):
    run.finish_before(WARMUP)
    warning = "from step 1 to 200 discriminator_night stayed below 0.05: " + "try a lower learning rate " * 9
    told = {"warnings": [warning.strip()], "step": 340, "steps": 1200}
    run.tell(WARMUP, **told, host=ELSEWHERE)
    assert run.line(WARMUP) == "warmup loopda 0 running step 340/1200, pid 4711 on node7, a warning below"
    run.save(WARMUP, 300)
    run.tell(WARMUP, **told)
    assert run.status(WARMUP).state == "stopped"
    run.finish(WARMUP)
    run.tell(WARMUP, **told, exit_code=0)
    assert run.status(WARMUP).state == "done"
    assert run.status(WARMUP).warnings == [warning.strip()]
    shown = table(list(run.statuses().values()), width=80, now=NOW)
    assert f"logs/warmup/loopda/seed0.log: warning {warning.strip()}" in re.sub(r"\n\s+", " ", shown)
    assert max(len(line) for line in shown.splitlines()) <= 80


def test_the_warning_of_a_result_that_was_deleted_is_no_longer_shown(run):
    run.finish_before(WARMUP)
    run.tell(WARMUP, exit_code=0, warnings=["from step 1 to 200 discriminators stayed the same"])
    assert (run.status(WARMUP).state, run.status(WARMUP).warnings) == ("waiting", [])


def test_a_training_whose_process_is_gone_is_stopped_at_its_last_checkpoint(run):
    run.finish_before(WARMUP)
    run.tell(WARMUP, step=340, steps=1200, seconds_left=60.0)
    run.save(WARMUP, 200)
    run.save(WARMUP, 300)
    assert (run.status(WARMUP).state, run.status(WARMUP).step) == ("stopped", 300)
    assert run.line(WARMUP) == "warmup loopda 0 stopped at step 300 of 1200, resumes (its process is gone)"


def test_a_training_that_a_signal_stopped_resumes_where_it_saved(run):
    run.finish_before(WARMUP)
    run.tell(WARMUP, steps=1200, exit_code=75, error="Interrupted: stopped by signal 15")
    run.save(WARMUP, 340)
    assert run.line(WARMUP) == "warmup loopda 0 stopped at step 340 of 1200, resumes (by a signal)"


def test_a_job_that_was_killed_without_a_checkpoint_begins_anew(run):
    job = Job("prepare", "loopda")
    run.finish_before(job)
    run.tell(job)
    assert run.line(job) == "prepare loopda stopped begins anew (its process is gone)"


def test_a_training_on_another_host_is_running_with_its_step_and_the_time_left(run):
    run.finish_before(WARMUP)
    run.tell(WARMUP, host=ELSEWHERE, time=NOW - 10, step=340, steps=1200, seconds_left=3610.0)
    assert run.line(WARMUP) == "warmup loopda 0 running step 340/1200, 1:00:00 left, pid 4711 on node7"
    assert run.line(Job("pseudo_labels", "loopda", 0)).endswith("waiting for warmup")


def test_another_host_that_has_been_silent_for_long_is_said_to_be(run):
    run.finish_before(WARMUP)
    run.tell(WARMUP, host=ELSEWHERE, time=NOW - 3600)
    assert run.line(WARMUP) == "warmup loopda 0 running pid 4711 on node7, no word for 1:00:00"


def test_a_model_that_was_deleted_after_its_use_is_absent_and_nothing_waits_for_it(run):
    run.finish_before(Job("report", "loopda"))
    run.finish(Job("report", "loopda"))
    for path in (run.folder / "results/simclr/loopda/seed0").iterdir():
        path.unlink()
    found = run.statuses()
    assert {job for job, status in found.items() if status.state != "done"} == {Job("simclr", "loopda", 0)}
    assert run.line(Job("simclr", "loopda", 0)) == "simclr loopda 0 absent not needed for what is there"


def test_other_experiments_are_listed_from_when_they_have_begun_and_all_of_them_on_demand(run):
    advent = Job("adapt", "advent", 2)
    assert advent not in run.statuses()
    assert run.statuses(every=True)[advent].state == "waiting"
    run.tell(advent)
    assert run.statuses()[advent].state == "stopped"
    assert {job.experiment for job in run.statuses()} == {"", "loopda", "advent"}
    everything = {job.experiment for job in run.statuses(every=True) if job.stage == "adapt"}
    ends_there = [name for name in run.config["experiments"] if "adapt" in experiments.model_stages(run.config, name)]
    assert everything == {experiments.owner(run.config, name, "adapt") for name in ends_there}


def test_a_target_lists_its_jobs_alone(run):
    found = run.statuses("compare")
    assert list(found)[-1] == Job("compare")
    assert {job.seed for job in found if job.stage == "adapt"} == set(run.config["table_seeds"])
    assert not [job for job in found if job.stage == "report"]
    assert {job.experiment for job in run.statuses("advent")} == {"", "loopda", "advent"}
    found = run.statuses("run")
    assert list(found)[-1] == Job("run")
    assert {job.seed for job in found if job.stage == "evaluate"} == set(run.config["table_seeds"])
    with pytest.raises(ConfigError, match=r"no target 'nonsense'\. A target is `all`, a comparison \(run, compare"):
        run.statuses("nonsense")


def test_no_line_of_the_table_is_longer_than_the_terminal_is_wide(run):
    run.finish_before(WARMUP)
    run.tell(WARMUP, exit_code=1, error="ValueError: " + "word " * 100)
    for width in (80, 120):
        lines = table(list(run.statuses(every=True).values()), width=width, now=NOW).splitlines()
        assert max(len(line) for line in lines) <= width
        assert lines[-1] == f"9 done, 1 failed, {len(run.statuses(every=True)) - 10} waiting"


# SLURM, of which squeue alone is asked


@pytest.fixture
def squeue(run, tmp_path_factory, monkeypatch) -> Callable[..., None]:
    """Put a squeue on the PATH that lists some jobs, as (id, state, comment) or with their folder behind."""
    folder = tmp_path_factory.mktemp("bin")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    (run.folder / ".snakemake" / "slurm_logs").mkdir(parents=True)

    def listing(*jobs: tuple[str, ...], code: int = 0) -> None:
        lines = []
        for number, state, comment, *where in jobs:
            lines.append(f"{number}|{state}|{where[0] if where else run.folder}|{comment}")
        script = "#!/bin/sh\ncat <<'END'\n" + "".join(f"{line}\n" for line in lines) + f"END\nexit {code}\n"
        (folder / "squeue").write_text(script)
        (folder / "squeue").chmod(0o755)

    return listing


def test_a_job_in_slurms_queue_is_queued_under_its_number(run, squeue):
    run.finish_before(WARMUP)
    squeue(("12", "PENDING", "rule_warmup_wildcards_loopda_0"), ("13", "RUNNING", "rule_simclr_wildcards_loopda_0"))
    assert run.line(WARMUP) == "warmup loopda 0 queued SLURM job 12"
    assert run.line(Job("simclr", "loopda", 0)) == "simclr loopda 0 running SLURM job 13, starting"


def test_the_manifest_of_a_further_night_set_is_found_in_slurms_queue(run, squeue):
    tests = {"rain": {"layout": "nighttime_driving", "root": "rain"}}
    run.config["data"] = dict.fromkeys(("source", "night"), tests["rain"]) | {
        "classes": "cityscapes",
        "night_tests": tests,
    }
    run.jobs = Jobs(run.config)
    squeue(("12", "PENDING", "rule_manifest_wildcards_loopda_night_tests_rain"))
    assert run.status(Job("manifest", "loopda", data_set="night_tests/rain")).slurm_job == "12"


def test_jobs_of_another_folder_are_not_this_ones(run, squeue):
    run.finish_before(WARMUP)
    squeue(("12", "PENDING", "rule_warmup_wildcards_loopda_0", "/elsewhere"))
    assert run.status(WARMUP).state == "waiting"


def test_a_training_in_a_slurm_job_runs_as_long_as_slurm_says_so(run, squeue):
    run.finish_before(WARMUP)
    run.tell(WARMUP, host=ELSEWHERE, slurm_job="12", step=340, steps=1200)
    run.save(WARMUP, 300)
    squeue(("12", "RUNNING", "rule_warmup_wildcards_loopda_0"))
    assert run.line(WARMUP) == "warmup loopda 0 running step 340/1200, SLURM job 12, pid 4711 on node7"
    squeue()
    assert run.line(WARMUP) == "warmup loopda 0 stopped at step 300 of 1200, resumes (its process is gone)"


def test_a_slurm_that_does_not_answer_is_no_proof_that_a_job_has_ended(run, squeue):
    run.finish_before(WARMUP)
    run.tell(WARMUP, host=ELSEWHERE, slurm_job="12")
    squeue(code=1)
    assert run.status(WARMUP).state == "running"


# the command


def test_the_command_needs_no_lock_and_no_torch_and_its_json_names_every_job(root, tmp_path):
    (tmp_path / "config.yaml").write_text((root / "config.yaml").read_text())
    overlay = root / "workflow/config/smoke.yaml"
    script = (
        "import sys\nfrom loopda.status import main\nmain(sys.argv[1:])\n"
        "heavy = {'torch', 'numpy', 'pandas', 'PIL', 'snakemake'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    command = [sys.executable, "-c", script, "--json", "--configfile", str(overlay)]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    found = json.loads(process.stdout)
    assert {"pretrain", "report"} <= {one["stage"] for one in found if one["experiment"] == "smoke"}
    assert set(found[0]) == set(Status.__dataclass_fields__)
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_a_wrong_configuration_ends_the_command_with_its_exit_code(root, tmp_path):
    (tmp_path / "config.yaml").write_text((root / "config.yaml").read_text())
    (tmp_path / "mine.yaml").write_text("run: [nonsense]\n")
    command = [sys.executable, "-m", "loopda.status", "--configfile", "mine.yaml"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert process.returncode == 2
    assert "run: no experiment 'nonsense'" in process.stderr
    assert "Traceback" not in process.stderr


def command(folder: Path, *arguments: str, package: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The status as a command in `folder`, of the package in the folder `package` instead of this one."""
    environment = os.environ | ({"PYTHONPATH": str(package)} if package else {})
    return subprocess.run(
        [sys.executable, "-m", "loopda.status", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.fault(63, "as in a checkout")
def test_the_status_runs_from_the_files_that_a_wheel_has(root, tmp_path):
    patterns = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["loopda"]
    for pattern in ("**/*.py", *patterns):
        for path in (root / "loopda").glob(pattern):
            copied = tmp_path / "installed" / path.relative_to(root)
            copied.parent.mkdir(parents=True, exist_ok=True)
            copied.write_bytes(path.read_bytes())
    (tmp_path / "config.yaml").write_text((root / "config.yaml").read_text())
    finished = command(tmp_path, "--json", package=tmp_path / "installed")
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout)


@pytest.mark.fault(63, "without config.yaml it says where to go")
def test_a_folder_without_config_yaml_has_no_status_and_is_told_so(tmp_path):
    finished = command(tmp_path)
    assert finished.returncode == 2
    assert "config.yaml: not in the folder" in finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("run: [mine]\nwarmup: {steps: 7}\nwarmup: {batch_size: 1}\n", "mine.yaml:3: 'warmup' occurs twice"),
        ("data: {night: }\n", "mine.yaml:1: data.night has no value"),
        ("experiments:\n  2024-01-05: {}\n", "mine.yaml:2: YAML reads the name 2024-01-05"),
        ("run: [no]\n", "run: no experiment False; YAML reads yes, no"),
        ("- warmup\n", "mine.yaml: expected sections"),
        ("warmup:\n\tsteps: 3\n", "mine.yaml:2: not valid YAML: a tab"),
    ],
)
@pytest.mark.fault(56, "also where the status reads them")
def test_the_status_reads_overlays_strictly(root, tmp_path, text, says):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError) as raised:
        read_config([tmp_path / "mine.yaml"], root)
    assert says in str(raised.value)


@pytest.mark.parametrize("names", [["smoke"], ["paper"], ["camvid"], ["drive"], ["paper", "smoke"]], ids="+".join)
def test_overlays_are_merged_as_snakemake_merges_them_in_the_same_order(root, names):
    from snakemake.utils import update_config

    paths = [root / f"workflow/config/{name}.yaml" for name in names]
    base, over = yaml.safe_load((root / "config.yaml").read_text()), {}
    for path in paths:
        update_config(over, yaml.safe_load(path.read_text()))
    merged = copy.deepcopy(over)  # what --configfile says, then the directive configfile, then --configfile again
    update_config(merged, base)
    update_config(merged, over)
    found = read_config(paths, root)
    del found[experiments.CLAIMS]
    assert json.dumps(found) == json.dumps(with_trials(in_order(merged, base)))


# a real training


HELD = """
import sys
from loopda.runtime.command import command
from loopda.stages import pretrain
from loopda.training import loop

record = loop.Training.record
loop.SAVE_SECONDS = 0.0

def held(self, **values):
    if self.step == 3:
        print("held", flush=True)
        sys.stdin.read()
    record(self, **values)

loop.Training.record = held
command(pretrain.run)
"""


def test_a_training_is_seen_at_work_and_after_its_death_stopped_at_the_step_that_it_saved(miniature, tmp_path):
    job = Job("pretrain", "smoke", 0)
    config = tmp_path / job.folder / "config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(Jobs(miniature.config).section_text(job))
    log = tmp_path / f"logs/{job.place}.log"
    values = miniature.arguments("pretrain", tmp_path / job.folder, config=config, log=log)
    flags = [word for name, value in values.items() for word in (f"--{name.replace('_', '-')}", str(value))]

    def seen() -> Status:
        (found,) = [one for one in statuses(miniature.config, ["smoke"], root=tmp_path) if one.stage == "pretrain"]
        return found

    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", HELD, *flags], **pipes)
    try:
        assert process.stdout.readline() == "held\n"
        running = seen()
        assert (running.state, running.step, running.steps) == ("running", 3, 6)
        assert (running.host, running.pid) == (os.uname().nodename, process.pid)
        assert running.seconds_left > 0
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    stopped = seen()
    assert (stopped.state, stopped.step, stopped.steps) == ("stopped", 3, 6)

    finished = subprocess.run([sys.executable, "-m", "loopda.stages.pretrain", *flags], check=False)
    assert finished.returncode == 0
    assert seen().state == "done"
