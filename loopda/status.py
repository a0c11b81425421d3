"""The state of a run at a glance: every job of the workflow, read off the files that it leaves.

    python -m loopda.status [TARGET ...] [--configfile FILE ...] [--all] [--watch [SECONDS]] [--json]

Runs in the folder that snakemake works in, while it works or after: it takes no lock, changes nothing and imports
nothing heavy.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from functools import reduce
from pathlib import Path
from typing import Any

from loopda.errors import ConfigError, LoopdaError
from loopda.pipeline.checking import check
from loopda.pipeline.claims import claims
from loopda.pipeline.experiments import CLAIMS, COMPARISONS, CachedConfig
from loopda.pipeline.jobs import Job, Jobs
from loopda.pipeline.merging import Config, merged_by_key, normalised
from loopda.pipeline.schema import read_schemas
from loopda.pipeline.stages import TRAINING_STAGES
from loopda.runtime import progress
from loopda.runtime.provenance import Digests, read_record
from loopda.text.encoding import begin_program
from loopda.text.strict_yaml import read_mapping

STATES = ("done", "running", "queued", "stopped", "failed", "outdated", "waiting", "absent")
DONE, RUNNING, QUEUED, STOPPED, FAILED, OUTDATED, WAITING, ABSENT = STATES
CLASSES = {1: "a bug", 2: "configuration", 3: "data", 4: "device, memory or disk", 5: "numbers"}  # of exit codes
INTERRUPTED = (75, 130)  # exit codes of what was stopped by a signal
SILENT_SECONDS = 600  # without a word from another host before the table says so


@dataclass
class Status:
    """What the files say about a job. Times are in seconds since the epoch, durations in seconds.

    step: the last one told, or of a job that stopped the last one saved. waits_for: places of jobs; of an outdated job
    those that have changed. exit_code and error: of a job that failed or was stopped by a signal. warnings: what a
    training noticed that it goes on with.
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


class Queue:
    """The user's SLURM jobs that Snakemake submitted from the folder `root`; unknown where there is no SLURM."""

    def __init__(self, root: Path):
        self.known = False
        self.jobs: dict[str, tuple[str, str]] = {}  # comment of the job: its id and state
        if (root / ".snakemake" / "slurm_logs").exists() and shutil.which("squeue"):
            command = ["squeue", "--me", "--noheader", "--format=%i|%T|%Z|%k"]
            try:
                listed = subprocess.run(
                    command, capture_output=True, encoding="utf-8", errors="replace", timeout=10, check=True
                )
            except (OSError, subprocess.SubprocessError):
                return
            self.known = True
            for line in listed.stdout.splitlines():
                number, state, folder, comment = line.split("|", 3)
                if Path(folder) == root.resolve():
                    self.jobs[comment.strip()] = number, state

    def of(self, job: Job) -> tuple[str, str] | None:
        """The id and state of the SLURM job that is to make `job`, by the comment that Snakemake's plugin gives it."""
        wildcards = "_".join(job.wildcards).replace("/", "_")
        return self.jobs.get(f"rule_{job.stage}_wildcards_{wildcards}" if wildcards else f"rule_{job.stage}")

    def runs(self, number: str) -> bool:
        """Whether the SLURM job `number` is running."""
        return (number, "RUNNING") in self.jobs.values()


def read_config(overlays: Sequence[Path], root: Path = Path()) -> Config:
    """config.yaml in the folder `root` with `overlays` over it, as Snakemake merges them; ConfigError when wrong.

    The keys of the overlays come first, as in Snakemake: the text of a stage's section tells whether it has changed.
    """
    base = root / "config.yaml"
    if not base.exists():
        raise ConfigError(
            f"{base}: not in the folder {root.absolute()}; the status is that of a folder where snakemake works: go"
            " there, or copy the project's config.yaml here"
        )
    first, *others = (read_mapping(path) for path in (base, *overlays))
    over = reduce(merged_by_key, others, {})
    config = merged_by_key(merged_by_key(over, first), over)
    config = normalised(config, first, others)
    check(config, read_schemas())
    return CachedConfig({**config, CLAIMS: claims(config, root)})


def statuses(config: Config, targets: Sequence[str] = (), *, root: Path = Path(), every: bool = False) -> list[Status]:
    """The status of each job, those that a job needs before it.

    targets: as `Jobs.of_target` knows them; without any, what `snakemake` makes by itself, and of all other experiments
    what has begun; with `every`, all of theirs too. ConfigError: there is no such target.
    """
    jobs = Jobs(config)
    graph = jobs.with_ancestors(job for target in targets or ["all"] for job in jobs.of_target(_known(config, target)))
    listed = set(graph)
    if every or not targets:
        graph |= begun(jobs, root, every=every)
    queue, found = Queue(root), {}
    before: dict[Job, set[Job]] = {}
    for job, needs in graph.items():
        before[job] = {earlier for one in needs for earlier in (one, *before[one])}
        found[job] = _status(jobs, job, {one: found[one] for one in needs}, root, queue)
        if found[job].state in (WAITING, STOPPED):  # for the last of a chain alone
            waits = [one for one in needs if found[one].state != DONE]
            last = [one for one in waits if not any(one in before[other] for other in waits)]
            found[job].waits_for = [one.place for one in last]
    _mark_absent(graph, found)
    return [status for job, status in found.items() if every or job in listed or status.state not in (WAITING, ABSENT)]


def begun(jobs: Jobs, root: Path, *, every: bool = False) -> dict[Job, list[Job]]:
    """The jobs of the experiments and comparisons that have begun in the folder `root`, or of `every` one, with all
    before them: job -> needs."""
    others = [name for name in jobs.config["experiments"] if every or _has_begun(name, root)]
    pages = [name for name in COMPARISONS if every or (root / "results" / name).exists()]
    last = [job for name in others for job in jobs.of_experiment(name)]
    return jobs.with_ancestors([*last, *map(Job, pages)])


def table(found: Sequence[Status], *, width: int, now: float) -> str:
    """The statuses in lines of at most `width` characters, then each failure and warning in full, then the number of
    each state.
    """
    labels = {_place(status): _label(status) for status in found}
    rows = [("STAGE", "EXPERIMENT", "SEED", "STATE", "")]
    for status in found:
        seed = "" if status.seed is None else str(status.seed)
        detail = _detail(status, labels, now) + (", a warning below" if status.warnings else "")
        rows.append((_label(status), status.experiment, seed, status.state, detail))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = []
    for *cells, detail in rows:
        line = "  ".join([*(cell.ljust(size) for cell, size in zip(cells, widths, strict=True)), detail]).rstrip()
        lines.append(line if len(line) <= width else f"{line[: width - 1]}…")
    for status in found:
        if status.state == FAILED:
            lines += ["", f"{status.log}: exit code {status.exit_code} ({CLASSES.get(status.exit_code, 'unknown')})"]
            lines += textwrap.wrap(status.error or "", width, initial_indent="  ", subsequent_indent="  ")
        for warning in status.warnings:
            lines += ["", f"{status.log}: warning"]
            lines += textwrap.wrap(warning, width, initial_indent="  ", subsequent_indent="  ")
    counts = Counter(status.state for status in found)
    lines += ["", ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])]
    return "\n".join(lines)


def _status(jobs: Jobs, job: Job, needs: Mapping[Job, Status], root: Path, queue: Queue) -> Status:
    log = root / f"logs/{job.place}.log"
    files = [root / name for name in job.files]
    times = [path.stat().st_mtime for path in files if path.exists()]
    complete = len(times) == len(files)
    told = progress.read(log)
    code = told.get("exit_code")
    submitted = queue.of(job)
    status = Status(*job, state=WAITING, log=f"logs/{job.place}.log", steps=told.get("steps"))
    if told and code is None and _is_alive(told, log, queue):
        status.state, status.last_word = RUNNING, told.get("time")
        for name in ("host", "pid", "slurm_job", "step", "seconds_left"):
            setattr(status, name, told.get(name))
    elif submitted:
        status.slurm_job = submitted[0]
        status.state = RUNNING if submitted[1] == "RUNNING" else QUEUED
    elif code not in (None, 0, *INTERRUPTED) and not (complete and max(times) > told["time"]):
        status.state, status.exit_code, status.error = FAILED, code, told.get("error")
    elif complete:
        status.finished, status.seconds = max(times), _seconds(job, root)
        changed = [one for one, its in needs.items() if _has_changed(its, min(times))]
        if changed and _is_what_it_was(root / job.recorded, root):  # newer by their times alone
            changed = [one for one in changed if needs[one].state != DONE]
        status.waits_for = [one.place for one in changed]
        settled = not status.waits_for and _has_settings(jobs, job, root)
        status.state = DONE if settled else OUTDATED
    else:
        status.step = _saved_step(root / job.folder) if job.stage in TRAINING_STAGES else None
        begun = status.step is not None or (told and code != 0)
        status.state, status.exit_code = STOPPED if begun else WAITING, code
    if status.state not in (WAITING, QUEUED):
        status.warnings = told.get("warnings", [])
    return status


def _is_alive(told: Mapping[str, Any], log: Path, queue: Queue) -> bool:
    """Whether the process that told this is at work: on this host its lock says so, elsewhere SLURM where it is asked.

    A process elsewhere that nobody can be asked about counts as alive; the table says how long it has been silent.
    """
    if progress.is_held(log):
        return True
    if told.get("host") == os.uname().nodename:
        return False
    if told.get("slurm_job") and queue.known:
        return queue.runs(told["slurm_job"])
    return True


def _has_changed(need: Status, since: float) -> bool:
    """Whether what was made of `need` is not up to date: it is newer, or will be made again."""
    if need.state == DONE:
        return need.finished > since
    return need.state not in (WAITING, ABSENT)


def _is_what_it_was(result: Path, root: Path) -> bool:
    """Whether the record beside a result says that it was made of what is there."""
    record = read_record(result)
    return record is not None and not Digests(root).others(record)


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
    """What is not there, and not needed either, because all that was made of it is done, waits for nothing."""
    needed = set(graph) - {need for needs in graph.values() for need in needs}
    for job in reversed(list(graph)):
        if job in needed and found[job].state not in (DONE, ABSENT):
            needed.update(graph[job])
        elif job not in needed and found[job].state == WAITING:
            found[job].state = ABSENT


def _has_begun(experiment: str, root: Path) -> bool:
    return any(True for kind in ("results", "logs") for _ in (root / kind).glob(f"*/{experiment}"))


def _known(config: Config, target: str) -> str:
    if target not in ("all", *COMPARISONS, *config["experiments"]):
        raise ConfigError(f"no target {target!r}; there are all, {', '.join(COMPARISONS)}, and every experiment")
    return target


def _label(status: Status) -> str:
    return f"{status.stage} {status.model or status.data_set}".rstrip()


def _place(status: Status) -> str:
    return Job(status.stage, status.experiment, status.seed, status.model, status.data_set).place


def _detail(status: Status, labels: Mapping[str, str], now: float) -> str:
    if status.state == DONE:
        took = "" if status.seconds is None else f", took {_duration(status.seconds)}"
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(status.finished)) + took
    if status.state == RUNNING:
        return ", ".join([*_progress(status, now), *_where(status, now)])
    if status.state == QUEUED:
        return f"SLURM job {status.slurm_job}"
    if status.state == FAILED:
        return f"exit code {status.exit_code} ({CLASSES.get(status.exit_code, 'unknown')}), see below"
    if status.state == STOPPED:
        how = "by a signal" if status.exit_code in INTERRUPTED else "its process is gone"
        of = f" of {status.steps}" if status.steps else ""
        return f"at step {status.step}{of}, resumes ({how})" if status.step else f"begins anew ({how})"
    if status.state == ABSENT:
        return "not needed for what is there"
    if status.state == OUTDATED:
        return f"after {_names(status.waits_for, labels)}" if status.waits_for else "of other settings"
    return f"for {_names(status.waits_for, labels)}" if status.waits_for else "for its turn"


def _progress(status: Status, now: float) -> list[str]:
    """How far a running job is."""
    if status.step is None:
        return []
    unit = "step " if status.stage in TRAINING_STAGES else ""
    shown = [f"{unit}{status.step}/{status.steps}"]
    if status.step == status.steps:
        shown.append("finishing")
    elif status.seconds_left is not None:
        left = status.seconds_left - (now - status.last_word)
        shown.append(f"{_duration(max(left, 0))} left")
    return shown


def _where(status: Status, now: float) -> list[str]:
    """Where a running job runs."""
    job = [f"SLURM job {status.slurm_job}"] if status.slurm_job else []
    process = [f"pid {status.pid} on {status.host}"] if status.pid else ["starting"]
    silent = now - status.last_word if status.last_word else 0
    away = status.host not in (None, os.uname().nodename)
    return [*job, *process, *([f"no word for {_duration(silent)}"] if away and silent > SILENT_SECONDS else [])]


def _names(places: Sequence[str], labels: Mapping[str, str]) -> str:
    names = list(dict.fromkeys(labels.get(place, place) for place in places))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loopda.status", description="What is done, running, failed, and waiting for what."
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="as snakemake's, or experiments")
    parser.add_argument("--configfile", nargs="+", type=Path, default=[], metavar="FILE", help="as snakemake takes it")
    parser.add_argument("--all", action="store_true", help="every experiment, begun or not, for every seed")
    parser.add_argument("--watch", nargs="?", type=float, const=5.0, metavar="SECONDS", help="show it again and again")
    parser.add_argument("--json", action="store_true", help="for programs: a list of objects")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; exits with the code of a LoopdaError."""
    options = _parsed(arguments)
    try:
        config = read_config(options.configfile)
        while True:
            found = statuses(config, options.targets, every=options.all)
            if options.json:
                shown = json.dumps([asdict(status) for status in found], indent=1)
            else:
                shown = table(found, width=shutil.get_terminal_size((120, 24)).columns, now=time.time())
            print(f"\033[H\033[J{shown}" if options.watch else shown, flush=True)
            if not options.watch:
                return
            time.sleep(options.watch)
    except LoopdaError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    begin_program()
    main()
