"""The miniature pipeline, interrupted at random until it is done, ends with the bytes of an undisturbed run.

    python -m tests.soak --interruptions 100 --seed 7

The pipeline is one process that runs each stage whose outputs are not there, in order. It is stopped by TERM or INT,
killed, killed with its newest checkpoint damaged, or its disk is filled; then it is started again. When it is done
before all interruptions have been, another begins. After each one, every result that exists must be the final one.

May differ: the times in metrics.jsonl; logs; progress; hidden leftovers of processes that were killed while they wrote.
"""

import argparse
import hashlib
import importlib
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parent))

import small_disk
from miniature import WIRING, base_config, miniature_in

from loopda.command import command
from loopda.signals import SIGNALS
from loopda.training import loop

STAGES = (
    "town",
    "prepare",
    "pretrain",
    "warmup",
    "pair",
    "pseudo_labels",
    "self_train",
    "simclr",
    "translate",
    "adapt",
)
STAGES += ("distill", "evaluate", "illustrate")
KINDS = ("TERM", "INT", "KILL", "DAMAGE", "FULL DISK")
# how each may end the pipeline; a signal between two stages, or before the first, finds nothing to save
ENDS = {
    "TERM": {75, -signal.SIGTERM},
    "INT": {75, -signal.SIGINT},
    "KILL": {-signal.SIGKILL},
    "DAMAGE": {-signal.SIGKILL},
    "FULL DISK": {4},
    "NONE": {0},
}
TIMES = ("seconds", "images_per_second")  # in metrics.jsonl
KILOBYTES = 96 * 1024

Words = dict[str, list[str]]


class Ended(NamedTuple):
    """code: of the exit, or minus a signal. seconds: that the pipeline ran. story: what was done to it."""

    code: int
    seconds: float
    story: str


def begin(folder: Path, stages: tuple[str, ...]) -> Words:
    """Make `folder` the working folder, with the sections of the stages in it; returns each stage's command line."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.chdir(folder)
    miniature = miniature_in(Path(), base_config())
    miniature.done = set(WIRING)
    return {stage: miniature.flags(stage, Path(stage)) for stage in stages}


def done(stage: str) -> bool:
    """Whether all declared outputs exist, which is all that Snakemake looks at too."""
    return all((Path(stage) / name).exists() for name in WIRING[stage][1].values())


def start(words: Words, log: Path) -> int:
    """The pid of a process that works through the stages that are not done; what it prints goes to `log`."""
    pid = os.fork()
    if pid:
        return pid
    try:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        loop.SAVE_SECONDS = 0.0
        for stage, flags in words.items():
            if not done(stage):
                command(importlib.import_module(f"loopda.stages.{stage}").run, flags)
    except SystemExit as exited:
        os._exit(exited.code or 0)
    os._exit(0)


def wait(pid: int, seconds: float = 300.0) -> int | None:
    """The exit code of a process, minus the signal that killed it, or None where it lives on after `seconds`."""
    process = os.pidfd_open(pid)
    ended, _, _ = select.select([process], [], [], seconds)
    os.close(process)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if ended else None


def interrupt(pid: int, kind: str, delay: float, draws: random.Random, real_disk: bool) -> Ended:
    """Do `kind` to the pipeline after `delay` seconds, unless it is done before."""
    began = time.monotonic()
    code = wait(pid, delay)
    if code is not None:
        return Ended(code, time.monotonic() - began, "was done before")
    story = f"in {next((stage for stage in STAGES if not done(stage)), 'no stage')}"
    match kind:
        case "TERM" | "INT":
            os.kill(pid, getattr(signal, f"SIG{kind}"))
        case "KILL" | "DAMAGE":
            os.kill(pid, signal.SIGKILL)
        case "FULL DISK" if real_disk:
            fill(Path("ballast"))
        case "FULL DISK":
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    code = wait(pid)
    if code is None:
        os.kill(pid, signal.SIGKILL)
        wait(pid)
        raise SystemExit(f"{kind}: the pipeline lives on, {story}")
    Path("ballast").unlink(missing_ok=True)
    if kind == "DAMAGE":
        story += damaged(draws)
    return Ended(code, time.monotonic() - began, story)


def fill(ballast: Path) -> None:
    """Take all that is left of the disk."""
    with open(ballast, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def damaged(draws: random.Random) -> str:
    """Damage the newest checkpoint of some stage as a disk might; returns what was done, in words."""
    found = sorted(Path().glob("*/state/step-*/state.pt"), key=lambda path: path.stat().st_mtime_ns)
    if not found:
        return ", no checkpoint to damage"
    content = bytearray(found[-1].read_bytes())
    how = draws.choice(("truncated", "emptied", "flipped", "without its manifest"))
    if how == "truncated":
        content = content[: len(content) // 2]
    elif how == "emptied":
        content = bytearray()
    elif how == "flipped":
        content[draws.randrange(len(content))] ^= 1 << draws.randrange(8)
    else:
        (found[-1].parent / "manifest.json").unlink(missing_ok=True)
    found[-1].write_bytes(content)
    return f", {found[-1].parent} {how}"


def artefacts(stages: tuple[str, ...]) -> dict[str, str]:
    """The SHA-256 of every result by its path; those in the folder of a stage that is not done are left out."""
    found = {}
    for stage in stages:
        for path in sorted(Path(stage).rglob("*")):
            if path.is_file() and done(stage) and not path.name.startswith(".") and "state" not in path.parts:
                found[str(path)] = hashlib.sha256(timeless(path)).hexdigest()
    return found


def declared(stages: tuple[str, ...]) -> dict[str, str]:
    """The SHA-256 of the declared outputs that exist, whether or not their stage is done."""
    paths = [Path(stage) / name for stage in stages for name in WIRING[stage][1].values()]
    return {str(path): hashlib.sha256(timeless(path)).hexdigest() for path in paths if path.exists()}


def timeless(path: Path) -> bytes:
    """The content of a file without the times in records."""
    if path.name != "metrics.jsonl":
        return path.read_bytes()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return json.dumps([{key: value for key, value in line.items() if key not in TIMES} for line in lines]).encode()


def differences(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """The paths that are not in both, or have other content."""
    return sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))


def soak(folder: Path, *, interruptions: int, seed: int, stages: tuple[str, ...]) -> str:
    """Interrupt the pipeline `interruptions` times; returns a line about it. SystemExit says what differed."""
    draws, log = random.Random(seed), Path(tempfile.mkdtemp(prefix="soak-")) / "log.txt"
    folder.mkdir(parents=True, exist_ok=True)
    real_disk = small_disk.mount(folder, KILOBYTES)
    began = time.monotonic()
    code = wait(start(begin(folder / "whole", stages), log))
    undisturbed = time.monotonic() - began
    if code:
        raise SystemExit(f"the undisturbed run ended with {code}; see {log}")
    golden = artefacts(stages)
    print(f"seed {seed}; {'a real small disk' if real_disk else 'a limit of file sizes'}; log {log}")
    print(f"undisturbed: {len(golden)} files in {undisturbed:.1f} s", flush=True)

    count, rounds, kinds = 0, 0, Counter[str]()
    while count < interruptions:
        rounds += 1
        words = begin(folder / "disturbed", stages)
        while any(not done(stage) for stage in stages):
            kind = draws.choice(KINDS) if count < interruptions else "NONE"
            delay = draws.uniform(0, undisturbed / 3) if kind != "NONE" else 300.0
            ended = interrupt(start(words, log), kind, delay, draws, real_disk)
            if ended.story != "was done before":
                count, kinds = count + 1, kinds + Counter([kind])
                print(f"{count:4} {kind:9} after {ended.seconds:5.2f} s {ended.story}: exit {ended.code}", flush=True)
            if ended.code not in ENDS[kind] | {0}:
                raise SystemExit(f"{kind} must not end in exit {ended.code}; see {log}")
            if wrong := [path for path, digest in declared(stages).items() if golden[path] != digest]:
                raise SystemExit(f"not as they end undisturbed: {', '.join(wrong)}")
        if wrong := differences(golden, artefacts(stages)):
            raise SystemExit(f"round {rounds}: these differ: {', '.join(wrong)}")
    shown = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    return f"{count} interruptions ({shown}) in {rounds} rounds of {len(golden)} files: 0 differences"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--interruptions", type=int, default=100)
    parser.add_argument("--seed", type=int, default=None, help="of the interruptions; by default another each time")
    parser.add_argument("--last", choices=STAGES, default=STAGES[-1], help="the stage to end with")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    stages = STAGES[: STAGES.index(arguments.last) + 1]
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        pid = os.fork()  # the disk in the folder is that process's own, and goes with it
        if pid == 0:
            try:
                print(soak(Path(folder), interruptions=arguments.interruptions, seed=seed, stages=stages), flush=True)
            except SystemExit as exited:
                print(exited, flush=True)
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
