"""snakemake on the miniature pipeline in a folder of its own, with a stand-in for `python` that holds trainings."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml

BIN = Path(sys.executable).parent
SECONDS = 3600  # at most, for one call of snakemake
SEED = "smoke/seed0"

# stands in for `python` in the commands of the rules; `body` may change the package before the stage runs
PYTHON = """#!{python}
import json, os, pathlib, runpy, sys, time

flag, module, *arguments = sys.argv[1:]
assert flag == "-m"
stage = module.rpartition(".")[2]
markers = pathlib.Path({markers!r})

def held(name, until):
    # wait until a condition holds, while a file tells of it
    names = ("SLURM_JOB_ID", "CUDA_VISIBLE_DEVICES")
    (markers / (name + ".part")).write_text(json.dumps([os.environ.get(name) for name in names]))
    (markers / (name + ".part")).rename(markers / name)
    deadline = time.monotonic() + 300
    while not until():
        assert time.monotonic() < deadline, "held for too long"
        time.sleep(0.02)

{body}
sys.argv = [module, *arguments]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


class Held(NamedTuple):
    """A training that waits: its job, and the GPUs that it sees."""

    job: str
    gpus: str


def _heed_interrupts() -> None:
    """What runs in the background of a shell, as the tests may, has it ignore SIGINT for all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Workflow:
    """snakemake in a folder of its own. changes: of the configuration."""

    def __init__(self, folder: Path, root: Path, town: dict[str, Any], environment: dict[str, str], **changes: Any):
        self.folder, self.root = folder, root
        (folder / "markers").mkdir(parents=True)
        for name in ("config.yaml", "workflow/config/smoke.yaml"):
            shutil.copy(root / name, folder)
        (folder / "miniature.yaml").write_text(yaml.safe_dump({"device": "cpu", "town": town, **changes}))
        self.path = [str(BIN), environment["PATH"]]
        own = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "XDG_CACHE_HOME": str(folder / "cache")}
        self.environment = {**environment, **own}

    def replace_python(self, body: str) -> None:
        """Have the stages run by the stand-in with this `body`, which may call held(name, until)."""
        python = self.folder / "bin/python"
        python.parent.mkdir()
        python.write_text(PYTHON.format(python=sys.executable, markers=str(self.folder / "markers"), body=body))
        python.chmod(0o755)
        self.path.insert(0, str(python.parent))

    def start(self, *arguments: str) -> subprocess.Popen:
        """snakemake as a process, which prints into a file."""
        files = ["--snakefile", str(self.root / "Snakefile"), "--configfile", "smoke.yaml", "miniature.yaml"]
        with open(self.folder / "printed", "a") as printed:
            return subprocess.Popen(
                [BIN / "snakemake", "--max-threads", "1", *arguments, *files],
                cwd=self.folder,
                env={**self.environment, "PATH": os.pathsep.join(self.path)},
                stdout=printed,
                stderr=printed,
                preexec_fn=_heed_interrupts,
            )

    def held(self) -> dict[str, Held]:
        """Every training that has been held, by its name."""
        markers = (path for path in (self.folder / "markers").iterdir() if not path.suffix)
        return {path.name: Held(*json.loads(path.read_text())) for path in markers}

    def evaluated(self) -> dict[str, bytes]:
        """Every file that `evaluate` wrote."""
        folder = self.folder / "results/evaluate"
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def log(self, stage: str) -> str:
        return (self.folder / "logs" / stage / f"{SEED}.log").read_text()

    def printed(self) -> str:
        return (self.folder / "printed").read_text()
