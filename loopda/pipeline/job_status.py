"""The state of each job of the workflow, read off the files that it leaves: its results, log and progress.

No lock is taken, nothing is changed and nothing heavy is imported.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loopda.errors import ConfigError
from loopda.pipeline.experiments import COMPARISONS, SEARCH
from loopda.pipeline.jobs import Job, Jobs
from loopda.pipeline.merging import Config
from loopda.pipeline.slurm_queue import SlurmQueue
from loopda.pipeline.stages import TRAINING_STAGES
from loopda.runtime import progress
from loopda.runtime.provenance import Digests, read_record

STATES = ("done", "running", "queued", "stopped", "failed", "outdated", "waiting", "absent")
DONE, RUNNING, QUEUED, STOPPED, FAILED, OUTDATED, WAITING, ABSENT = STATES
INTERRUPTED = (75, 130)  # exit codes of jobs that a signal stopped


@dataclass
class Status:
    """What the files say about a job. Times are in seconds since the epoch, durations in seconds.

    step: of a running job the last one that it reported, of a stopped job the last one that it saved. waits_for: places
    of jobs; for an outdated job, those that have changed. exit_code and error: of a job that failed or was stopped by a
    signal. warnings: those of a training, which continued.
    """

    stage: str
    experiment: str
    seed: int | None
    model: str
    data_set: str
    state: str
    log: str
    step: int | None = None
    steps: int | None = None
    seconds_left: float | None = None
    host: str | None = None
    pid: int | None = None
    slurm_job: str | None = None
    last_word: float | None = None
    finished: float | None = None
    seconds: float | None = None
    exit_code: int | None = None
    error: str | None = None
    waits_for: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def place(self) -> str:
        """That of its job (`Job.place`)."""
        return Job(self.stage, self.experiment, self.seed, self.model, self.data_set).place


def statuses(config: Config, targets: Sequence[str] = (), *, root: Path = Path(), every: bool = False) -> list[Status]:
    """The status of each job; a job comes after those that it needs.

    targets: as `Jobs.of_target` takes them. Without targets: the jobs of a plain `snakemake`, and those of other
    experiments that have begun. every: all jobs of all experiments. ConfigError: there is no such target.
    """
    jobs = Jobs(config)
    graph = jobs.with_ancestors(job for target in targets or ["all"] for job in jobs.of_target(_known(config, target)))
    listed = set(graph)
    if every or not targets:
        graph |= begun(jobs, root, every=every)
    queue, found = SlurmQueue(root), {}
    before: dict[Job, set[Job]] = {}
    for job, needs in graph.items():
        before[job] = {earlier for need in needs for earlier in (need, *before[need])}
        found[job] = _status(jobs, job, {need: found[need] for need in needs}, root, queue)
        if found[job].state in (WAITING, STOPPED):
            waits = [need for need in needs if found[need].state != DONE]
            # of a chain of jobs, only the last is named
            last = [need for need in waits if not any(need in before[other] for other in waits)]
            found[job].waits_for = [need.place for need in last]
    _mark_absent(graph, found)
    return [status for job, status in found.items() if every or job in listed or status.state not in (WAITING, ABSENT)]


def _known(config: Config, target: str) -> str:
    """`target`; ConfigError where there is none of this name."""
    if target not in ("all", *COMPARISONS, SEARCH, *config["experiments"]):
        raise ConfigError(
            f"no target {target!r}. A target is `all`, a comparison ({', '.join(COMPARISONS)}), `{SEARCH}`, or an"
            " experiment"
        )
    return target


def begun(jobs: Jobs, root: Path, *, every: bool = False) -> dict[Job, list[Job]]:
    """Job -> the jobs that it needs, for the experiments and comparisons that have begun in the folder `root`.

    every: for all experiments and comparisons.
    """
    others = [name for name in jobs.config["experiments"] if every or _has_begun(name, root)]
    pages = [name for name in (*COMPARISONS, SEARCH) if every or (root / "results" / name).exists()]
    last = [job for name in others for job in jobs.of_experiment(name)]
    return jobs.with_ancestors([*last, *map(Job, pages)])


def _has_begun(experiment: str, root: Path) -> bool:
    return any(True for kind in ("results", "logs") for _ in (root / kind).glob(f"*/{experiment}"))


def _status(jobs: Jobs, job: Job, needs: Mapping[Job, Status], root: Path, queue: SlurmQueue) -> Status:
    """The status of `job`, from its own files and from the statuses of the jobs that it needs."""
    log = root / f"logs/{job.place}.log"
    files = [root / name for name in job.files]
    times = [path.stat().st_mtime for path in files if path.exists()]
    complete = len(times) == len(files)
    process = progress.read(log)
    code = process.get("exit_code")
    submitted = queue.of(job)
    status = Status(*job, state=WAITING, log=f"logs/{job.place}.log", steps=process.get("steps"))
    if process and code is None and _is_alive(process, log, queue):
        status.state, status.last_word = RUNNING, process.get("time")
        for name in ("host", "pid", "slurm_job", "step", "seconds_left"):
            setattr(status, name, process.get(name))
    elif submitted:
        status.slurm_job = submitted[0]
        status.state = RUNNING if submitted[1] == "RUNNING" else QUEUED
    elif code not in (None, 0, *INTERRUPTED) and not (complete and max(times) > process["time"]):
        status.state, status.exit_code, status.error = FAILED, code, process.get("error")
    elif complete:
        status.finished, status.seconds = max(times), _seconds(job, root)
        changed = [need for need, found in needs.items() if _has_changed(found, min(times))]
        if changed and _agrees_with_its_record(root / job.recorded, root):  # newer by their times alone
            changed = [need for need in changed if needs[need].state != DONE]
        status.waits_for = [need.place for need in changed]
        status.state = DONE if not changed and _has_settings(jobs, job, root) else OUTDATED
    else:
        status.step = _saved_step(root / job.folder) if job.stage in TRAINING_STAGES else None
        has_begun = status.step is not None or (process and code != 0)
        status.state, status.exit_code = STOPPED if has_begun else WAITING, code
    if status.state not in (WAITING, QUEUED):
        status.warnings = process.get("warnings", [])
    return status


def _is_alive(process: Mapping[str, Any], log: Path, queue: SlurmQueue) -> bool:
    """Whether the process is at work: on this host by its lock on the log, on another one by what SLURM says.

    On another host without SLURM it counts as alive; the table says how long it has been silent.
    """
    if progress.is_held(log):
        return True
    if process.get("host") == os.uname().nodename:
        return False
    if process.get("slurm_job") and queue.known:
        return queue.runs(process["slurm_job"])
    return True


def _has_changed(need: Status, since: float) -> bool:
    """Whether a result of the time `since` is outdated by `need`, which is newer or will be made again."""
    if need.state == DONE:
        return need.finished > since
    return need.state not in (WAITING, ABSENT)


def _agrees_with_its_record(result: Path, root: Path) -> bool:
    """Whether the record beside a result has the digests of the files that are there."""
    record = read_record(result)
    return record is not None and not Digests(root).changed(record)


def _has_settings(jobs: Jobs, job: Job, root: Path) -> bool:
    """Whether the result of `job` was made with the settings of the configuration."""
    path = root / job.config
    return not path.exists() or path.read_text(encoding="utf-8") == jobs.section_text(job)


def _seconds(job: Job, root: Path) -> float | None:
    """How long `job` took: a training with all its parts, another job as Snakemake measured its last attempt."""
    try:
        if job.stage in TRAINING_STAGES:
            *_, last = (root / job.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
            return json.loads(last)["seconds"]
        header, values, *_ = (root / job.benchmark).read_text(encoding="utf-8").splitlines()
        return float(dict(zip(header.split("\t"), values.split("\t"), strict=False))["s"])
    except (OSError, ValueError, KeyError):
        return None


def _saved_step(folder: Path) -> int | None:
    """The step of the newest checkpoint of a training's progress."""
    return max((int(path.name.removeprefix("step-")) for path in folder.glob("state/step-*")), default=None)


def _mark_absent(graph: Mapping[Job, Sequence[Job]], found: Mapping[Job, Status]) -> None:
    """Mark jobs as absent: their results are missing, but everything that is made of them is done."""
    needed = set(graph) - {need for needs in graph.values() for need in needs}
    for job in reversed(list(graph)):
        if job in needed and found[job].state not in (DONE, ABSENT):
            needed.update(graph[job])
        elif job not in needed and found[job].state == WAITING:
            found[job].state = ABSENT
