"""Vouch for results that were copied without their times, so that Snakemake does not make them again.

    python -m loopda.vouch [--configfile FILE ...] [--dry-run]

Snakemake goes by the times of files and by its own records in .snakemake. If a project was copied without both (cp -r,
a download, object storage), Snakemake would make every result again, and remove a finished model as its job begins.
This command compares each result with the record beside it (runtime/provenance.py): the settings, and the SHA-256 of
the inputs and of the result itself. Results that agree get one common time, which makes them up to date. Those that do
not agree are listed and left as they are.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loopda.errors import LoopdaError
from loopda.pipeline.configuration import read_config
from loopda.pipeline.job_status import begun
from loopda.pipeline.jobs import Job, Jobs
from loopda.pipeline.merging import Config
from loopda.runtime.provenance import Digests, read_record, record_path
from loopda.text.encoding import begin_program


@dataclass
class Examined:
    """Which results agree with the records beside them.

    agreeing: the jobs whose results agree. files: their results, and all that these were made of. differing: job -> why
    its results do not agree.
    """

    agreeing: list[Job] = field(default_factory=list)
    files: set[Path] = field(default_factory=set)
    differing: dict[Job, str] = field(default_factory=dict)


def examine(config: Config, root: Path = Path()) -> Examined:
    """Compare all results in the folder `root` with their records, and their settings with today's."""
    jobs, digests, found = Jobs(config), Digests(root), Examined()
    for job in _jobs(jobs, root):
        results = [root / name for name in job.files]
        if not all(path.exists() for path in results):
            continue
        section = root / job.config
        recorded = read_record(root / job.recorded)
        if section.exists() and section.read_text(encoding="utf-8") != jobs.section_text(job):
            found.differing[job] = "made with other settings than the configuration's"
        elif recorded is None:
            found.differing[job] = "no record beside it says what it was made of"
        elif changed := digests.changed(recorded):
            more = f", and {len(changed) - 1} more" if len(changed) > 1 else ""
            found.differing[job] = f"{changed[0]} is not what it was when this was made{more}"
        else:
            found.agreeing.append(job)
            beside = (section, root / job.folder / "checked", root / job.benchmark)
            found.files |= {root / path for path in recorded} | {*results, *(path for path in beside if path.exists())}
    return found


def vouch(found: Examined) -> None:
    """Give every file of the results that agree the time of the oldest one, so that no input is newer than a result."""
    oldest = min((path.stat().st_mtime_ns for path in found.files), default=0)
    for path in found.files:
        os.utime(path, ns=(oldest, oldest))


def copied_without_times(config: Config, root: Path = Path()) -> bool:
    """Whether the results in `root` were copied without Snakemake's records and without their times.

    The sign of it: a result that has a record beside it is older than one of its inputs.
    """
    if any((root / ".snakemake" / "metadata").glob("*")):
        return False
    for job in _jobs(Jobs(config), root):
        if not record_path(root / job.recorded).exists() or not all((root / name).exists() for name in job.files):
            continue
        made = [root / name for name in (*job.files, job.benchmark)]  # Snakemake goes by the oldest of these
        made_of = {root / path for path in read_record(root / job.recorded) or ()} - set(made)
        times = [path.stat().st_mtime_ns for path in made if path.exists()]
        if any(path.stat().st_mtime_ns > min(times) for path in made_of if path.exists()):
            return True
    return False


def _jobs(jobs: Jobs, root: Path) -> dict[Job, list[Job]]:
    """The jobs that may have results: those of `run`, and those of experiments that have begun."""
    return jobs.with_ancestors(jobs.of_target("all")) | begun(jobs, root)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; exits with the code of a LoopdaError, and with 3 where something cannot be vouched for."""
    parser = argparse.ArgumentParser(prog="python -m loopda.vouch", description=__doc__.partition("\n")[0])
    parser.add_argument("--configfile", nargs="+", type=Path, default=[], metavar="FILE", help="as snakemake takes it")
    parser.add_argument("--dry-run", "-n", action="store_true", help="compare, and change no time")
    options = parser.parse_args(arguments)
    try:
        found = examine(read_config(options.configfile))
        for job, why in found.differing.items():
            print(f"{job.place}: {why}; left as it is")
        if not options.dry_run:
            vouch(found)
        if found.differing:
            print(f"To have them made again, remove them: rm {shlex.join(job.files[0] for job in found.differing)}")
        and_now = "" if options.dry_run else ", and up to date"
        print(f"{len(found.agreeing)} results are what their records say{and_now}")
    except LoopdaError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    sys.exit(3 if found.differing else 0)


if __name__ == "__main__":
    begin_program()
    main()
