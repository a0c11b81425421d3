"""A real SLURM for tests: one node on the loopback interface, every file in one folder, nothing left behind.

The node claims more processors and memory than the machine has, so that the resources of the profile fit on it. Its
GPUs are device files that nobody opens: SLURM takes no count of GPUs without them. Jobs of the partition `urgent`
preempt those of `main`.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

PROGRAMS = ("setpriv", "munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
SECONDS = 180  # for anything that the cluster itself does
DEVICES = ("/dev/null", "/dev/zero")  # in the place of GPUs
GRACE = 60  # seconds that a job has to end in, once it was told to
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
MailProg=/bin/true
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerParameters=sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
MinJobAge=3600
KillWait={grace}
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=64 RealMemory=512000 Gres=gpu:{gpus}
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE PriorityTier=1 GraceTime={grace}
PartitionName=urgent Nodes={host} PriorityTier=10 PreemptMode=OFF
"""
# Snakemake's executor calls it without SLURM_CONF, which would have it look in /etc
SRUN = """#!/bin/sh
SLURM_CONF={folder}/slurm.conf exec {srun} "$@"
"""


class Job(NamedTuple):
    """A line of squeue. restarts: how often it was requeued."""

    id: int
    state: str
    restarts: int
    rule: str


class Cluster:
    """In its `with` block the cluster is up; `folder`, which is made, holds its configuration, logs and state.

    gpus: of its node, 1 or 2.
    """

    def __init__(self, folder: Path, gpus: int = 1):
        self.folder, self.gpus = folder, gpus
        self.daemons: list[subprocess.Popen] = []

    def __enter__(self) -> "Cluster":
        missing = [program for program in PROGRAMS if path_of(program) is None]
        if missing:
            raise RuntimeError(f"no {', '.join(missing)} on this machine: make slurm-test installs what it needs")
        try:
            self._configure()
            self._start("munged", "--foreground", "--force", *self._munge_files())
            wait_for((self.folder / "munge.socket").exists, "munged", self.daemons)
            self._start("slurmctld", "-D", "-f", self.folder / "slurm.conf")
            self._start("slurmd", "-D", "-f", self.folder / "slurm.conf")
            wait_for(lambda: self.call("sinfo", "-h", "-o", "%T") == "idle", "an idle node", self.daemons)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End every job, then every daemon, the last started first, then what may be left of the jobs."""
        if len(self.daemons) == 3:
            self.call("scancel", "--user", str(os.getuid()))
            wait_for(lambda: not self.call("squeue", "-h"), "the end of every job")
        for daemon in reversed(self.daemons):
            daemon.terminate()
            try:
                daemon.wait(SECONDS)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self.daemons.clear()
        for process in self.processes():
            os.kill(process, signal.SIGKILL)

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which SLURM's commands find this cluster."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
        path = os.pathsep.join([str(self.folder / "bin"), os.environ["PATH"]])
        return {**own, "PATH": path, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def call(self, *words: str) -> str:
        """What a command of SLURM prints; nothing when it fails."""
        process = subprocess.run(
            words, env=self.environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        return process.stdout.strip()

    def jobs(self) -> list[Job]:
        """Every job that ever was, in the order of submission; of a job of Snakemake `rule` is its rule."""
        lines = self.call("squeue", "-h", "--states=all", "--sort=i", "-O", "JobID:|,State:|,RestartCnt:|,Comment:|")
        parts = [[part.strip() for part in line.split("|")] for line in lines.splitlines()]
        return [Job(int(part[0]), part[1], int(part[2]), part[3]) for part in parts]

    def limit(self, job: str, minutes: int) -> None:
        """Have the time of a running job end in about so many minutes; 0: now, or a minute after its start."""
        used = int(self.call("squeue", "-h", "--job", job, "-o", "%M").split(":")[0])
        self.call("scontrol", "update", f"JobId={job}", f"TimeLimit={max(1, used + minutes)}")

    def processes(self) -> list[int]:
        """The processes that the cluster has started and that still run: their environment names its folder."""
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if f"SLURM_CONF={self.folder}/".encode() in path.read_bytes():
                    found.append(int(path.parent.name))
            except OSError:  # it has ended, or is another user's
                continue
        return [process for process in found if process != os.getpid()]

    def _configure(self) -> None:
        for name in ("", "bin", "state", "spool"):
            (self.folder / name).mkdir(mode=0o755)
        fill = {"folder": self.folder, "host": socket.gethostname().split(".")[0], "user": os.getuid()}
        text = CONFIGURATION.format(**fill, ports=free_ports(2), grace=GRACE, gpus=self.gpus)
        (self.folder / "slurm.conf").write_text(text)
        gpus = "".join(f"Name=gpu File={device}\n" for device in DEVICES[: self.gpus])
        (self.folder / "gres.conf").write_text(gpus)
        (self.folder / "bin/srun").write_text(SRUN.format(folder=self.folder, srun=shutil.which("srun")))
        (self.folder / "bin/srun").chmod(0o755)
        (self.folder / "munge.key").write_bytes(os.urandom(128))
        (self.folder / "munge.key").chmod(0o600)

    def _munge_files(self) -> list[str]:
        names = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munged.pid", "seed-file": "munge.seed"}
        return [f"--{option}={self.folder / name}" for option, name in names.items()]

    def _start(self, program: str, *arguments: str | Path) -> None:
        """A daemon in the foreground, which also ends when the tests are killed."""
        with open(self.folder / f"{program}.log", "w") as log:
            words = ["setpriv", "--pdeathsig", "TERM", path_of(program), *arguments]
            self.daemons.append(
                subprocess.Popen(words, env=self.environment, stdout=log, stderr=log, start_new_session=True)
            )


def path_of(program: str) -> str | None:
    """Where a program is, those for administrators included, or None."""
    return shutil.which(program, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"]))


def wait_for(condition: Callable[[], object], what: str, daemons: list[subprocess.Popen] | None = None) -> None:
    """Return when the condition holds; RuntimeError when a daemon ends before, or SECONDS have gone by."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        ended = [daemon.args[3] for daemon in daemons or [] if daemon.poll() is not None]
        if ended or time.monotonic() > deadline:
            raise RuntimeError(f"no {what}: {' and '.join(ended) or 'nothing'} ended; their logs are in the folder")
        time.sleep(0.1)


def free_ports(number: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
