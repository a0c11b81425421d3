"""The states of jobs as a table for the terminal."""

import os
import textwrap
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta

from loopda.pipeline.job_status import (
    ABSENT,
    DONE,
    FAILED,
    INTERRUPTED,
    OUTDATED,
    QUEUED,
    RUNNING,
    STATES,
    STOPPED,
    Status,
)
from loopda.pipeline.stages import TRAINING_STAGES

CAUSES = {1: "a bug", 2: "configuration", 3: "data", 4: "device, memory or disk", 5: "numbers"}  # of exit codes
SILENT_SECONDS = 600  # without a word from another host before the table says so


def table(found: Sequence[Status], *, width: int, now: float) -> str:
    """The statuses in lines of at most `width` characters, each failure and warning in full, and the counts of states.

    now: the time in seconds since the epoch.
    """
    labels = {status.place: _label(status) for status in found}
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
            lines += ["", f"{status.log}: exit code {status.exit_code} ({CAUSES.get(status.exit_code, 'unknown')})"]
            lines += textwrap.wrap(status.error or "", width, initial_indent="  ", subsequent_indent="  ")
        for warning in status.warnings:
            lines += ["", f"{status.log}: warning"]
            lines += textwrap.wrap(warning, width, initial_indent="  ", subsequent_indent="  ")
    counts = Counter(status.state for status in found)
    lines += ["", ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])]
    return "\n".join(lines)


def _label(status: Status) -> str:
    return f"{status.stage} {status.model or status.data_set}".rstrip()


def _detail(status: Status, labels: Mapping[str, str], now: float) -> str:
    if status.state == DONE:
        took = "" if status.seconds is None else f", took {_duration(status.seconds)}"
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(status.finished)) + took
    if status.state == RUNNING:
        return ", ".join([*_progress(status, now), *_where(status, now)])
    if status.state == QUEUED:
        return f"SLURM job {status.slurm_job}"
    if status.state == FAILED:
        return f"exit code {status.exit_code} ({CAUSES.get(status.exit_code, 'unknown')}), see below"
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
