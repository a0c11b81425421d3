"""The jobs that Snakemake has submitted to SLURM."""

import shutil
import subprocess
from pathlib import Path

from loopda.pipeline.jobs import Job


class SlurmQueue:
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
